package proc

import (
	"bytes"
	"os"
	"strconv"
)

// fatals are the messages of fatal errors that a program can bring about. The
// runtime does not write them to the crash output (golang/go#76859), but the
// trace there shows where in memory the message stands.
var fatals = []string{
	"concurrent map clone and map write",
	"concurrent map iteration and map write",
	"concurrent map read and map write",
	"concurrent map writes",
	"out of memory",
	"out of memory (stack allocation)",
	"runtime: cannot allocate memory",
	"runtime: out of memory",
	"runtime: out of memory: cannot allocate heap metadata",
	"stack overflow",
	"sync: RUnlock of unlocked RWMutex",
	"sync: Unlock of unlocked RWMutex",
	"sync: unlock of unlocked mutex",
	"thread exhaustion",
	"unexpected signal during runtime execution",
}

// explain puts the message before the crash text of a fatal error, where it can
// be told. The child was this same binary, so its constants are ours, and where:
// if they are at another place, as in a position independent one, no message
// fits. The address is the child's word, but nothing that stands there gets
// out: it is only compared.
func explain(crash []byte) []byte {
	if !headless(crash) {
		return crash
	}
	var at uint64
	for line := range bytes.Lines(crash) {
		name, args, ok := bytes.Cut(line, []byte("({0x"))
		if !ok || !bytes.HasSuffix(name, []byte("runtime.throw")) && !bytes.HasSuffix(name, []byte(".fatal")) {
			continue
		}
		hex := args[:len(args)-len(bytes.TrimLeft(args, "0123456789abcdef"))]
		at, _ = strconv.ParseUint(string(hex), 16, 63)
		break
	}
	if at == 0 {
		return crash
	}
	mem, err := os.Open("/proc/self/mem") // reading what is not there is an error, no fault
	if err != nil {
		return crash
	}
	defer mem.Close()
	found := ""
	for _, m := range fatals {
		b := make([]byte, len(m))
		if _, err := mem.ReadAt(b, int64(at)); err == nil && string(b) == m && len(m) > len(found) {
			found = m
		}
	}
	if found == "" {
		return crash
	}
	return append([]byte("fatal error: "+found+"\n"), crash...)
}

// headless reports whether a crash text has no message.
func headless(crash []byte) bool {
	line, _, _ := bytes.Cut(bytes.TrimLeft(crash, "\n"), []byte{'\n'})
	return bytes.HasPrefix(line, []byte("goroutine ")) || bytes.HasPrefix(line, []byte("runtime stack:")) ||
		bytes.HasPrefix(line, []byte("runtime."))
}
