//go:build !amd64

package fuzz

import "errors"

const whyNoTrace = "the tracer knows the registers of amd64 only"

var errNoTrace = errors.New(whyNoTrace)

func (t *tracer) loadPC() error                    { return errNoTrace }
func (t *tracer) calledFrom(uint64) (uint64, bool) { return 0, false }
func (t *tracer) isSyscall(uint64) bool            { return true }
func (t *tracer) setBreaks(...uint64) error        { return errNoTrace }
func (t *tracer) clearBreaks() error               { return errNoTrace }
func (t *tracer) ourCaller() uint64                { return t.pc }
func (t *tracer) callNumber() uint32               { return 0 }
