package fuzz_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Packages mq and pipe wait for descriptors in the same way and stand alone, so
// each has its own copy of these files. What is mended in one has to be
// mended in the other.
func TestTwins(t *testing.T) {
	mq := regexp.MustCompile(`\bmq(_test)?\b`)
	read := func(name string) string {
		text, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for line := range strings.Lines(mq.ReplaceAllString(string(text), "pipe$1")) {
			if strings.HasPrefix(line, "// The file is pipe/line.go") || strings.HasPrefix(line, "// stand alone, so each has its own.") {
				continue
			}
			if line != "//\n" && line != "\n" {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "")
	}
	for _, file := range []string{"descriptor.go", "line.go", "yield.go", "turn.go", "turn_test.go"} {
		if read("mq/"+file) != read("pipe/"+file) {
			t.Errorf("mq/%s and pipe/%[1]s differ in more than the package's name", file)
		}
	}
}
