package fuzz_test

import (
	"strings"
	"testing"
)

// What is refused in one way only can't be asked for in another, which would be the
// same run again.
func TestWithoutInOneWay(t *testing.T) {
	if isChild(t) {
		return
	}
	for name, own := range map[string]bool{"xattr": true, "unshare": true, "membarrier": false, "splice": false} {
		out, err := again(t, t.Name(), "RAWIPC_WITHOUT="+name+":EACCES")
		if refused := strings.Contains(out, "has an errno of its own, and takes none"); refused != own || (err != nil) != own {
			t.Errorf("%s:EACCES: %v, %s\nwant it refused: %v", name, err, out, own)
		}
	}
}
