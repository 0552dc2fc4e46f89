package proc

import (
	"bytes"
	"encoding/binary"
	"os"
)

// A report is what a child leaves for its parent: nothing, or an error's text
// behind reportMagic and a uvarint of its length, then the text of a crash, as
// the runtime writes it. It lies in memory that the child may still change, or
// fill with anything: it is copied, up to maxReport bytes, and then looked at.
const maxReport = 1 << 20

var reportMagic = []byte("\x00error\x00")

// writeReport appends an error's text; a crash that follows appends to it, as
// both write through one open file.
func writeReport(f *os.File, msg string) {
	msg = msg[:min(len(msg), maxReport-64)]
	b := binary.AppendUvarint(bytes.Clone(reportMagic), uint64(len(msg)))
	f.Write(append(b, msg...)) // there is nobody to tell if it fails
}

// readReport takes a report apart; what it can't read is empty.
func readReport(fd int) (msg string, crash []byte) {
	size, err := fileSize(fd)
	if err != nil {
		return "", nil
	}
	b := make([]byte, min(size, maxReport))
	n, _ := preadFull(fd, b)
	return splitReport(b[:n])
}

func splitReport(b []byte) (msg string, crash []byte) {
	if text, ok := bytes.CutPrefix(b, reportMagic); ok {
		n, size := binary.Uvarint(text)
		if size > 0 && n <= uint64(len(text)-size) {
			msg, b = string(text[size:][:n]), text[size:][n:]
		}
	}
	if len(b) == 0 {
		b = nil
	}
	return msg, b
}
