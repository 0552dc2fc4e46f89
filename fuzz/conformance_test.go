package fuzz_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// assertions lists the numbers of each part of the table, so that none gets lost:
// those that the suite has, with its gaps.
const assertions = `
	shm_open 1-42 shm_unlink 1-11 mmap 1-32
	mq_close 1-5 mq_getattr 1-7 mq_notify 1-9 mq_open 1-30 mq_receive 1-14 mq_send 1-14 mq_setattr 1-5
	mq_timedreceive 1-19 mq_timedsend 1-20 mq_unlink 1-7
	sem_close 1-4 sem_destroy 1,3-8 sem_getvalue 1-5 sem_init 1-11 sem_open 1-15 sem_post 1-6,8
	sem_timedwait 1-11 sem_unlink 1-9 sem_wait 1,3-9,11-13
	pthread_mutex_destroy 1-5 pthread_mutex_init 1-5 pthread_mutex_lock 1-5 pthread_mutex_timedlock 1-5
	pthread_mutex_trylock 1-4 pthread_mutex_unlock 1-5 pthread_mutex_consistent 1-3
	pthread_mutexattr_setrobust 1-7 pthread_mutexattr_settype 1-3,5-7 pthread_mutexattr_setpshared 1-3
	pthread_cond_broadcast 1-5 pthread_cond_destroy 1-4 pthread_cond_init 1-4 pthread_cond_signal 1-5
	pthread_cond_timedwait 1-4 pthread_cond_wait 1-4 pthread_condattr_setclock 1-2 pthread_condattr_setpshared 1-2
	pthread_rwlock_destroy 1-3 pthread_rwlock_init 1-6 pthread_rwlock_rdlock 1-6 pthread_rwlock_timedrdlock 1-7
	pthread_rwlock_timedwrlock 1-7 pthread_rwlock_tryrdlock 1-3 pthread_rwlock_trywrlock 1-3
	pthread_rwlock_unlock 1-4 pthread_rwlock_wrlock 1-3 pthread_rwlockattr_setpshared 1-3
	pthread_barrier_destroy 1-3 pthread_barrier_init 1-4 pthread_barrier_wait 1-6 pthread_barrierattr_setpshared 1-3`

// Rows that have no numbers: of each part so many.
const multiprocessingRows, beyondRows = 50, 12

// numbersOf expands a list such as 1,3-5.
func numbersOf(list string) (all []int) {
	for part := range strings.SplitSeq(list, ",") {
		from, to, ok := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		last := first
		if ok && err == nil {
			last, err = strconv.Atoi(to)
		}
		if err != nil {
			panic(err)
		}
		for n := first; n <= last; n++ {
			all = append(all, n)
		}
	}
	return all
}

// Each row of the table has tests that are there, or one of the reasons; no more
// than 15 of 100 rows have a reason. Numbers are those of the suite, in their order.
func TestConformance(t *testing.T) {
	tests, err := testsBelow("..")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]int{"multiprocessing": make([]int, multiprocessingRows), "beyond": make([]int, beyondRows)}
	for f := strings.Fields(assertions); len(f) > 0; f = f[2:] {
		want[f[0]] = numbersOf(f[1])
	}
	if len(want) != len(posix)+2 {
		t.Errorf("%d parts, want %d", len(posix)+2, len(want))
	}
	total, without := 0, 0
	check := func(name string, rows []row) {
		said, reasons := map[string]bool{}, map[reason]int{}
		var numbers []int
		for _, r := range rows {
			switch {
			case said[r.about]:
				t.Errorf("%s %d %s: twice", name, r.number, r.about)
			case r.about == "":
				t.Errorf("%s %d: it says nothing", name, r.number)
			case (r.test == "") == (r.none == ""):
				t.Errorf("%s %d %s: want a test or a reason", name, r.number, r.about)
			case r.none != "" && !slices.Contains([]reason{leftOpen, absent, byTypes, byKernel, otherwise}, r.none):
				t.Errorf("%s %d: %q is none of the reasons", name, r.number, r.none)
			}
			for test := range strings.FieldsSeq(r.test) {
				if !tests[test] {
					t.Errorf("%s %d %s: there is no %s", name, r.number, r.about, test)
				}
			}
			said[r.about] = true
			numbers = append(numbers, r.number)
			if r.none != "" {
				reasons[r.none]++
				without++
			}
		}
		if !slices.Equal(numbers, want[name]) {
			t.Errorf("%s: rows %v, want %v", name, numbers, want[name])
		}
		total += len(rows)
		text := ""
		for _, r := range slices.Sorted(maps.Keys(reasons)) {
			kind, _, _ := strings.Cut(string(r), ":")
			text += ", " + kind + " " + strings.Repeat("|", reasons[r])
		}
		t.Logf("%-28s %3d rows%s", name, len(rows), text)
	}
	for _, name := range slices.Sorted(maps.Keys(posix)) {
		check(name, posix[name])
	}
	check("multiprocessing", multiprocessing)
	t.Logf("%d rows in all, %d (%.1f %%) with a reason", total, without, 100*float64(without)/float64(total))
	if without*100 > 15*total {
		t.Errorf("%d of %d rows have a reason, more than 15 of 100", without, total)
	}
	check("beyond", beyond) // after the share, which it would lower
}

// testsBelow finds the tests and fuzz targets of all packages in root, as
// package.Name.
func testsBelow(root string) (map[string]bool, error) {
	files, err := filepath.Glob(filepath.Join(root, "*", "*_test.go"))
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && fn.Recv == nil && (strings.HasPrefix(fn.Name.Name, "Test") || strings.HasPrefix(fn.Name.Name, "Fuzz")) {
				found[filepath.Base(filepath.Dir(name))+"."+fn.Name.Name] = true
			}
		}
	}
	return found, nil
}
