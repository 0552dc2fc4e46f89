package fuzz_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each row of the table has a test that is there, or one of the reasons; no
// more than 15 of 100 rows have a reason.
func TestConformance(t *testing.T) {
	tests, err := testsBelow("..")
	if err != nil {
		t.Fatal(err)
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
