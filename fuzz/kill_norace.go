//go:build !race

package fuzz

// raceBuild says that every memory access of the victim is a call more.
const raceBuild = false
