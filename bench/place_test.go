package main

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// Pairs are chosen by what sysfs shows of cores and sockets.
func TestPlace(t *testing.T) {
	for _, c := range []struct {
		name  string
		cpus  []int
		cores string // of each CPU, socket:core; "" without sysfs
		want  string
	}{
		{"one", []int{3}, "", "one-cpu[3][3] unpinned[][]"},
		{"hidden", []int{2, 5}, "", "one-cpu[2][2] two-cpus[2][5] unpinned[][]"},
		{"cores", []int{0, 1}, "0:0 0:1", "one-cpu[0][0] two-cpus[0][1] unpinned[][]"},
		{"siblings side by side", []int{0, 1, 2}, "0:0 0:0 0:1", "one-cpu[0][0] two-cpus[0][2] siblings[0][1] unpinned[][]"},
		{"siblings alone", []int{0, 1}, "0:0 0:0", "one-cpu[0][0] two-cpus[0][1] unpinned[][]"},
		{"sockets", []int{0, 1, 2, 3}, "0:0 1:0 0:1 0:0",
			"one-cpu[0][0] two-cpus[0][2] siblings[0][3] two-sockets[0][1] unpinned[][]"},
		{"sockets alone", []int{0, 1}, "0:0 1:0", "one-cpu[0][0] two-cpus[0][1] unpinned[][]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sysfs := fstest.MapFS{}
			for cpu, at := range strings.Fields(c.cores) {
				socket, core, _ := strings.Cut(at, ":")
				dir := fmt.Sprintf("cpu%d/topology/", cpu)
				sysfs[dir+"physical_package_id"] = &fstest.MapFile{Data: []byte(socket + "\n")}
				sysfs[dir+"core_id"] = &fstest.MapFile{Data: []byte(core + "\n")}
			}
			pls, _ := place(c.cpus, sysfs)
			var got []string
			for _, pl := range pls {
				got = append(got, fmt.Sprintf("%s%v%v", pl.name, pl.a, pl.b))
			}
			if g := strings.Join(got, " "); g != c.want {
				t.Errorf("%s, want %s", g, c.want)
			}
		})
	}
}
