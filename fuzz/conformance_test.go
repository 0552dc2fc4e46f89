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

// assertions says how many each part of the table has, so that none gets lost: as
// many as the suite lists, whose numbers have gaps here and there.
const assertions = `
	shm_open 42 shm_unlink 11 mmap 32
	mq_close 5 mq_getattr 7 mq_notify 9 mq_open 30 mq_receive 14 mq_send 14 mq_setattr 5
	mq_timedreceive 19 mq_timedsend 20 mq_unlink 7
	sem_close 4 sem_destroy 7 sem_getvalue 5 sem_init 11 sem_open 15 sem_post 7
	sem_timedwait 11 sem_unlink 9 sem_wait 11
	pthread_mutex_destroy 5 pthread_mutex_init 5 pthread_mutex_lock 5 pthread_mutex_timedlock 5
	pthread_mutex_trylock 4 pthread_mutex_unlock 5 pthread_mutex_consistent 3
	pthread_mutexattr_setrobust 7 pthread_mutexattr_settype 6 pthread_mutexattr_setpshared 3
	pthread_cond_broadcast 5 pthread_cond_destroy 4 pthread_cond_init 4 pthread_cond_signal 5
	pthread_cond_timedwait 4 pthread_cond_wait 4 pthread_condattr_setclock 2 pthread_condattr_setpshared 2
	pthread_rwlock_destroy 3 pthread_rwlock_init 6 pthread_rwlock_rdlock 6 pthread_rwlock_timedrdlock 7
	pthread_rwlock_timedwrlock 7 pthread_rwlock_tryrdlock 3 pthread_rwlock_trywrlock 3
	pthread_rwlock_unlock 4 pthread_rwlock_wrlock 3 pthread_rwlockattr_setpshared 3
	pthread_barrier_destroy 3 pthread_barrier_init 4 pthread_barrier_wait 6 pthread_barrierattr_setpshared 3
	multiprocessing 49`

// Each row of the table has a test that is there, or one of the reasons; no
// more than 15 of 100 rows have a reason.
func TestConformance(t *testing.T) {
	tests, err := testsBelow("..")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for f := strings.Fields(assertions); len(f) > 0; f = f[2:] {
		want[f[0]], _ = strconv.Atoi(f[1])
	}
	if len(want) != len(posix)+1 {
		t.Errorf("%d parts, want %d", len(posix)+1, len(want))
	}
	total, without := 0, 0
	check := func(name string, rows []row) {
		numbers, reasons := map[string]bool{}, map[reason]int{}
		for _, r := range rows {
			key := r.about
			if r.number > 0 {
				key = string(rune(r.number))
			}
			switch {
			case numbers[key]:
				t.Errorf("%s %d %s: twice", name, r.number, r.about)
			case r.about == "":
				t.Errorf("%s %d: it says nothing", name, r.number)
			case (r.test == "") == (r.none == ""):
				t.Errorf("%s %d %s: want a test or a reason", name, r.number, r.about)
			case r.none != "" && !slices.Contains([]reason{leftOpen, absent, byTypes, byKernel, otherwise}, r.none):
				t.Errorf("%s %d: %q is none of the reasons", name, r.number, r.none)
			case r.test != "" && !tests[r.test]:
				t.Errorf("%s %d %s: there is no %s", name, r.number, r.about, r.test)
			}
			numbers[key] = true
			if r.none != "" {
				reasons[r.none]++
				without++
			}
		}
		if len(rows) != want[name] {
			t.Errorf("%s: %d rows, want %d", name, len(rows), want[name])
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
