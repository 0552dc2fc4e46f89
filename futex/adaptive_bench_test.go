package futex_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
)

// pausesOf are for how long the partner works before it answers.
var pausesOf = []time.Duration{0, 10 * time.Microsecond, 100 * time.Microsecond, time.Millisecond}

const (
	tripRounds = 15
	tripTime   = 5 * time.Millisecond
)

// BenchmarkAdaptiveWait is the policy beside pure spin and pure sleep: round
// trips of two processes. ns/op is the median of the legs, and ns-best/op the
// fastest; ns-cpu/op is the CPU time of both processes together, the partner's
// work (pause) included.
func BenchmarkAdaptiveWait(b *testing.B) {
	for _, path := range tripPaths {
		b.Run("path="+path, func(b *testing.B) {
			benchTrips(b, path, []spinning{pureSpin, pureSleep, adaptive()})
		})
	}
}

// BenchmarkSpinConstants chose the constants of spin.go: budget and maxSkips.
//
// Read it so: with two CPUs a budget is too small where pause=0 or pause=10µs
// come near the price of a wake, and with processes that may run anywhere it is
// too big, or maxSkips too small, where pause=0 is dearer than with a budget of
// 0, which hardly spins. The first wants to spin, the other doesn't.
//
// On two CPUs of a virtual machine (AMD EPYC) that were busy with other work
// too, so that a wake took 100 µs and more, a ring's trips took, in µs, the
// median and the fastest leg, by budget (maxSkips 64):
//
//	budget            0     5 µs    20 µs    50 µs   100 µs   200 µs
//	two, 0       283/.5   99/1.9   2.1/.4   1.0/.4   0.7/.3   0.7/.2
//	two, 10 µs   246/67   317/86    82/33    28/17    20/12    12/11
//	unpinned, 0    12/9     13/9    13/10    15/10    15/11    18/12
//
// and, with a queue, by maxSkips (budget 100 µs):
//
//	maxSkips          0        8       64      256     1024
//	two, 0      1.8/1.3  2.4/1.3  4.8/1.2  2.4/1.5  3.2/1.4
//	two, 10 µs    13/11    14/12    84/14    18/12   328/23
//	unpinned, 0 217/153    36/24    18/12    13/11    17/10
//
// So 50 µs, the price of a wake on an idle machine, is too little: who has just
// woken his partner waits for the wake and for the answer. 200 µs gains little
// more, and is lost where it is lost. 256 waits for each spin in vain make that
// cost a twelfth; more of them forget for too long.
func BenchmarkSpinConstants(b *testing.B) {
	var all []spinning
	budget, skips, long := futex.SpinPolicy()
	for _, us := range []int{0, 5, 20, 50, 100, 200} {
		d := time.Duration(us) * time.Microsecond
		all = append(all, spinning{fmt.Sprintf("%v,skips=%d", d, skips), d, skips, long})
	}
	for _, n := range []uint32{0, 8, 64, 256, 1024} {
		if n != skips {
			all = append(all, spinning{fmt.Sprintf("%v,skips=%d", budget, n), budget, n, long})
		}
	}
	for _, path := range tripPaths {
		b.Run("path="+path, func(b *testing.B) { benchTrips(b, path, all) })
	}
}

// BenchmarkYields is the policy with and without its yields. On one CPU, or
// where the scheduler may put both on one, a ring's or a queue's trip takes half
// as long with them, 4.8 µs for 11 at best, and no pause makes them dear. A
// second yield, or a fourth or sixteenth, gained nothing.
func BenchmarkYields(b *testing.B) {
	budget, skips, long := futex.SpinPolicy()
	all := []spinning{{"sleep", budget, skips, 0}, {"yield", budget, skips, long}}
	for _, path := range tripPaths {
		b.Run("path="+path, func(b *testing.B) { benchTrips(b, path, all) })
	}
}

// benchTrips measures all policies of a placement together, in turns, when its
// first name is asked for; what bears the names only reports.
func benchTrips(b *testing.B, path string, all []spinning) {
	for _, place := range placements {
		b.Run("placement="+place, func(b *testing.B) {
			costs := tripsOf(b, path, place, all, pausesOf, tripRounds, tripTime)
			for i, s := range all {
				for k, pause := range pausesOf {
					b.Run(fmt.Sprintf("wait=%s/pause=%v", s.Name, pause), func(b *testing.B) {
						var wall, cpu []float64
						best := costs[i][k][0].wall
						for _, c := range costs[i][k] {
							wall, cpu = append(wall, c.wall), append(cpu, c.cpu)
							best = min(best, c.wall)
						}
						b.ReportMetric(median(wall), "ns/op")
						b.ReportMetric(best, "ns-best/op")
						b.ReportMetric(median(cpu), "ns-cpu/op")
					})
				}
			}
		})
	}
}
