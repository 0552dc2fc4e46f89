package main

import (
	"runtime"
	"testing"
	"time"
)

// An end keeps its descriptors through collections: bare numbers don't.
func TestRawEndKeepsFiles(t *testing.T) {
	a, b, err := dgramLinks()
	if err != nil {
		t.Fatal(err)
	}
	ea, err := a.open()
	if err != nil {
		t.Fatal(err)
	}
	eb, err := b.open()
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	a = nil
	for range 3 {
		runtime.GC()
		time.Sleep(time.Millisecond) // cleanups run on a goroutine
	}
	buf := make([]byte, 8)
	if err := ea.send(buf); err != nil {
		t.Fatal(err)
	}
	if err := eb.recv(buf); err != nil {
		t.Fatal(err)
	}
	ea.(rawEnd).l.close()
}
