package fuzz

import (
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// class says what the tracer does with an instruction.
type class uint8

const (
	foreign class = iota // stepped, since it may call ours; no point
	ours                 // stepped, and every instruction is a point
	through              // run at full speed to its return: it never calls ours
)

// throughPackages never call back into the package under test, save for the
// functions in callsBack.
var throughPackages = []string{"", "runtime", "internal", "syscall", "sync/atomic", "time", "math", "golang.org/x/sys"}

var callsBack = map[string]bool{
	"runtime.deferreturn": true, "runtime.gopanic": true, "runtime.Goexit": true,
	"runtime.reflectcall": true, "runtime.coroswitch": true,
}

// codeMap sorts instructions. The helper is this binary, so the tester's own
// tables describe it; slide is how far it was moved (position-independent
// builds only).
type codeMap struct {
	prefixes []string
	slide    uint64
	byPC     map[uint64]class
	byFunc   map[uintptr]class
	kernel   map[uint64]bool
}

func newCodeMap(prefixes []string) *codeMap {
	return &codeMap{prefixes: prefixes, byPC: map[uint64]class{}, byFunc: map[uintptr]class{}, kernel: map[uint64]bool{}}
}

func (c *codeMap) classify(pc uint64) class {
	pc -= c.slide
	k, ok := c.byPC[pc]
	if !ok {
		k = c.function(uintptr(pc))
		c.byPC[pc] = k
	}
	return k
}

// function sorts the function around pc. The runtime names only the innermost
// of inlined calls, so a function counts as ours when any of its instructions
// belongs to ours: what is inlined into it can't be missed, though some
// instructions beside it become points too.
func (c *codeMap) function(pc uintptr) class {
	f := runtime.FuncForPC(pc)
	if f == nil {
		return through // C code of the race detector, the vDSO
	}
	start := f.Entry()
	k, ok := c.byFunc[start]
	if ok {
		return k
	}
	name, isOurs := "", false
	for p := start; ; p++ {
		g := runtime.FuncForPC(p)
		if g == nil || g.Entry() != start {
			break
		}
		isOurs = isOurs || c.isOurs(g.Name())
		// The function itself, not something inlined, has a Frame.Func.
		if fr := frameAt(p); name == "" && fr.Func != nil {
			name = fr.Function
			if under(packageOf(name), throughPackages) && !c.isOurs(name) {
				break
			}
		}
	}
	switch {
	case isOurs:
		k = ours
	case under(packageOf(name), throughPackages) && !callsBack[name] && !strings.HasPrefix(name, "runtime.call"):
		k = through
	default:
		k = foreign
	}
	c.byFunc[start] = k
	return k
}

func (c *codeMap) isOurs(function string) bool { return under(packageOf(function), c.prefixes) }

// packages are those that were met, but for the runtime's and such.
func (c *codeMap) packages() []string {
	met := map[string]bool{}
	for start := range c.byFunc {
		if pkg := packageOf(runtime.FuncForPC(start).Name()); !under(pkg, throughPackages) {
			met[pkg] = true
		}
	}
	return slices.Sorted(maps.Keys(met))
}

// place names the instruction: the nearest function of ours that it is in or
// was inlined for, and the line there.
func (c *codeMap) place(pc uint64) (function, line string) {
	p := uintptr(pc - c.slide)
	f := runtime.FuncForPC(p)
	if f == nil {
		return "?", fmt.Sprintf("%#x", pc)
	}
	fr := frameAt(p)
	for q := p; q >= f.Entry(); q-- {
		if near := frameAt(q); c.isOurs(near.Function) {
			fr = near
			break
		}
	}
	return fr.Function, fmt.Sprintf("%s:%d+%#x", filepath.Base(fr.File), fr.Line, p-f.Entry())
}

func frameAt(pc uintptr) runtime.Frame {
	fr, _ := runtime.CallersFrames([]uintptr{pc + 1}).Next() // takes return addresses
	return fr
}

// under says whether pkg is one of the paths or below one of them.
func under(pkg string, paths []string) bool {
	for _, p := range paths {
		if pkg == p || p != "" && strings.HasPrefix(pkg, p+"/") {
			return true
		}
	}
	return false
}

// packageOf cuts the package path from a symbol's name, in which the dots of
// the last element are escaped.
func packageOf(function string) string {
	name, _, _ := strings.Cut(function, "[")
	slash := strings.LastIndexByte(name, '/') + 1
	dot := strings.IndexByte(name[slash:], '.')
	if dot < 0 || strings.HasPrefix(name, "type:") {
		return ""
	}
	return strings.ReplaceAll(name[:slash+dot], "%2e", ".")
}

// entersKernel says whether the instruction at the victim's pc is a system
// call.
func (c *codeMap) entersKernel(t *tracer) bool {
	pc := t.pc - c.slide
	k, ok := c.kernel[pc]
	if !ok {
		k = t.isSyscall(t.pc)
		c.kernel[pc] = k
	}
	return k
}
