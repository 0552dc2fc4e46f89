package main

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A placement says on which CPUs the two processes run; nil is wherever the
// kernel puts them.
type placement struct {
	name string
	a, b []int
}

// apart is whether both can run at once, which is what spinning needs.
func (pl placement) apart() bool { return len(pl.a) == 0 || pl.a[0] != pl.b[0] }

// placements are one CPU for both processes, and two if this process may use
// so many.
func placements() (pls []placement, note string, err error) {
	pls, note, err = allPlacements()
	short := slices.DeleteFunc(pls, func(pl placement) bool { return pl.name != "one-cpu" && pl.name != "two-cpus" })
	return short, note, err
}

// allPlacements are also those that the machine's topology offers, and none.
func allPlacements() (pls []placement, note string, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, "", os.NewSyscallError("sched_getaffinity", err)
	}
	var cpus []int
	for i := range 1024 {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	pls, note = place(cpus, os.DirFS("/sys/devices/system/cpu"))
	return pls, note, nil
}

// place chooses pairs of CPUs by how far apart they are. Without sysfs, or
// where a virtual machine hides it, any two CPUs are two.
func place(cpus []int, sysfs fs.FS) (pls []placement, note string) {
	one := placement{"one-cpu", cpus[:1], cpus[:1]}
	free := placement{name: "unpinned"}
	if len(cpus) < 2 {
		return []placement{one, free}, "Only one CPU is there: nothing is measured on two."
	}
	number := func(cpu int, file string) int {
		data, err := fs.ReadFile(sysfs, fmt.Sprintf("cpu%d/topology/%s", cpu, file))
		n, err2 := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil || err2 != nil {
			return -1
		}
		return n
	}
	pair := func(name string, sameSocket, sameCore bool) *placement {
		for _, b := range cpus[1:] {
			socket := number(cpus[0], "physical_package_id") == number(b, "physical_package_id")
			core := socket && number(cpus[0], "core_id") >= 0 && number(cpus[0], "core_id") == number(b, "core_id")
			if socket == sameSocket && core == sameCore {
				return &placement{name, cpus[:1], []int{b}}
			}
		}
		return nil
	}
	two, siblings, sockets := pair("two-cpus", true, false), pair("siblings", true, true), pair("two-sockets", false, false)
	switch {
	case two != nil:
	case siblings != nil:
		two, siblings = &placement{"two-cpus", siblings.a, siblings.b}, nil
		note = "The two CPUs are siblings of one core: they share what computes."
	default:
		two, sockets = &placement{"two-cpus", sockets.a, sockets.b}, nil
		note = "The two CPUs are in two sockets."
	}
	pls = []placement{one, *two}
	for _, pl := range []*placement{siblings, sockets, &free} {
		if pl != nil {
			pls = append(pls, *pl)
		}
	}
	return pls, note
}
