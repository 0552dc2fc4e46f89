package fuzz_test

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// The rules of the house about files and imports.
const (
	modulePath = "github.com/rawipc/rawipc"
	maxLines   = 400
)

var (
	// edges are all imports that packages may have of each other outside
	// tests; nil: of any. Only external tests import fuzz.
	edges = map[string][]string{
		"futex": {}, "pipe": {}, "mq": {}, "proc": {},
		"shm":   {"futex"},
		"pool":  {"proc", "pipe", "shm", "futex"},
		"bench": nil, "fuzz": nil,
	}
	topLevel = []string{
		"go.mod", "go.sum", "README.md", "LICENSE",
		"shm", "futex", "pipe", "mq", "proc", "pool", "bench", "fuzz",
	}
)

// breaches returns what in the module breaks a rule, a line each.
func breaches(module fs.FS) (found []string, err error) {
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	top, err := fs.ReadDir(module, ".")
	if err != nil {
		return nil, err
	}
	for _, e := range top {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			add("%s: not in the fixed top level", e.Name())
		}
	}
	err = fs.WalkDir(module, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && name != "."):
			return fs.SkipDir
		case name == "go.mod":
			text, err := fs.ReadFile(module, name)
			for line := range strings.Lines(string(text)) {
				f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
				if len(f) > 1 && strings.HasPrefix(f[1], "v") && f[0] != "golang.org/x/sys" {
					add("go.mod: requires %s", f[0])
				}
			}
			return err
		case strings.HasSuffix(name, ".go"):
			text, err := fs.ReadFile(module, name)
			if err != nil {
				return err
			}
			return ofFile(name, text, add)
		}
		return nil
	})
	return found, err
}

// ofFile judges one Go file.
func ofFile(name string, text []byte, add func(string, ...any)) error {
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
	if err != nil {
		return err
	}
	pkg, _, _ := strings.Cut(name, "/")
	isTest := strings.HasSuffix(name, "_test.go")
	external := isTest && strings.HasSuffix(file.Name.Name, "_test")
	if n := bytes.Count(text, []byte("\n")); !isTest && n > maxLines {
		add("%s: %d lines, more than %d", name, n, maxLines)
	}
	if bytes.HasPrefix(text, []byte("//go:linkname")) || bytes.Contains(text, []byte("\n//go:linkname")) {
		add("%s: go:linkname", name)
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(imported, "/")
		to, ours := strings.CutPrefix(imported, modulePath+"/")
		allowed, known := edges[pkg]
		switch {
		case imported == "C":
			add("%s: cgo", name)
		case imported == "unsafe" && !isTest && !strings.HasSuffix(name, "_unsafe.go"):
			add("%s: unsafe in a file that isn't called *_unsafe.go", name)
		case to == "fuzz" && !external:
			add("%s: only external test packages import fuzz", name)
		case ours && path.Base(to) != to, ours && !slices.Contains(topLevel, to):
			add("%s: imports %s, which isn't a package of the fixed layout", name, imported)
		case ours && !isTest && known && allowed != nil && !slices.Contains(allowed, to):
			add("%s: %s must not import %s", name, pkg, to)
		case !ours && strings.Contains(first, ".") && imported != "golang.org/x/sys/unix" && imported != "golang.org/x/sys/cpu":
			add("%s: imports %s: only the standard library and golang.org/x/sys, unix and cpu", name, imported)
		}
	}
	return nil
}

func TestHouseRules(t *testing.T) {
	found, err := breaches(os.DirFS(".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// Each rule can be broken, and what is right is left alone.
func TestHouseRulesCanFail(t *testing.T) {
	imports := func(pkg string, paths ...string) string {
		return "package " + pkg + "\nimport (\n\"" + strings.Join(paths, "\"\n\"") + "\"\n)\n"
	}
	const us = modulePath + "/"
	right := map[string]string{
		"go.mod":                "module " + modulePath + "\n\ngo 1.26.0\n\nrequire golang.org/x/sys v0.49.0\n",
		".ci/run":               "#!/bin/bash\n",
		".github/x.go":          "not Go at all",
		"README.md":             "",
		"shm/a.go":              imports("shm", "os", "go/token", us+"futex", "golang.org/x/sys/unix"),
		"shm/map_unsafe.go":     imports("shm", "unsafe"),
		"shm/a_test.go":         imports("shm", "unsafe", us+"proc"),
		"shm/b_test.go":         imports("shm_test", us+"fuzz"),
		"shm/testdata/c.go":     "package main\nimport \"C\"\n",
		"pool/a.go":             imports("pool", us+"proc", us+"pipe", us+"shm", us+"futex"),
		"bench/a.go":            imports("main", us+"mq", us+"pool"),
		"fuzz/a.go":             imports("fuzz", us+"proc", "testing"),
		"fuzz/long_test.go":     "package fuzz\n" + strings.Repeat("//\n", maxLines),
		"fuzz/not_too_long.go":  "package fuzz\n" + strings.Repeat("//\n", maxLines-1),
		"fuzz/says_linkname.go": "package fuzz\n\n// No //go:linkname here.\n",
	}
	for _, row := range []struct{ file, text, want string }{
		{"internal/x.go", "package x\n", "internal: not in the fixed top level"},
		{"main.go", "package main\n", "main.go: not in the fixed top level"},
		{"Makefile", "", "Makefile: not in the fixed top level"},
		{"go.mod", "module m\nrequire (\n\tgolang.org/x/sys v0.49.0\n\texample.com/x v1.0.0 // indirect\n)\n", "go.mod: requires example.com/x"},
		{"go.mod", "module m\nrequire example.com/x v1.0.0\n", "go.mod: requires example.com/x"},
		{"futex/x.go", imports("futex", us+"shm"), "futex must not import shm"},
		{"shm/x.go", imports("shm", us+"pipe"), "shm must not import pipe"},
		{"pool/x.go", imports("pool", us+"mq"), "pool must not import mq"},
		{"pipe/x.go", imports("pipe", us+"proc"), "pipe must not import proc"},
		{"bench/x.go", imports("main", us+"fuzz"), "only external test packages import fuzz"},
		{"pipe/x_test.go", imports("pipe", us+"fuzz"), "only external test packages import fuzz"},
		{"pipe/x_test.go", imports("pipe", us+"internal/y"), "isn't a package of the fixed layout"},
		{"shm/x.go", imports("shm", "unsafe"), "unsafe in a file"},
		{"shm/x.go", imports("shm", "C"), "cgo"},
		{"shm/x_test.go", imports("shm", "C"), "cgo"},
		{"shm/x_unsafe.go", "package shm\n\n//go:linkname f runtime.f\nfunc f()\n", "go:linkname"},
		{"shm/x_test.go", imports("shm", "golang.org/x/sys/windows"), "only the standard library"},
		{"shm/x.go", imports("shm", "github.com/a/b"), "only the standard library"},
		{"mq/x.go", "package mq\n" + strings.Repeat("//\n", maxLines), "mq/x.go: 401 lines"},
		{"", "", ""},
	} {
		module := fstest.MapFS{}
		files := maps.Clone(right)
		if row.file != "" {
			files[row.file] = row.text
		}
		for name, text := range files {
			module[name] = &fstest.MapFile{Data: []byte(text)}
		}
		found, err := breaches(module)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(found, "; ")
		if row.want == "" && got != "" || row.want != "" && (len(found) != 1 || !strings.Contains(got, row.want)) {
			t.Errorf("%s %q:\ngot  %s\nwant %s", row.file, row.text[:min(60, len(row.text))], got, row.want)
		}
	}
}
