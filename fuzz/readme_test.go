package fuzz_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

// What the README says of the code is held against the code.

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The first program that a newcomer sees compiles, and prints what stands below
// it.
func TestReadmeProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(readme(t), "```go\n")
	program, rest, ok := strings.Cut(rest, "```\n")
	prints := regexp.MustCompile("It prints `([^`]*)`").FindStringSubmatch(rest)
	if !ok || prints == nil {
		t.Fatal("no program with its output")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), goTool, "run", file)
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := strings.TrimSpace(string(out)); got != prints[1] {
		t.Errorf("it prints %q, not %q", got, prints[1])
	}
}

// names are the names that the module's files declare: "shm.Queue",
// "shm.Queue.Send", "shm.Attr.Mode", and those of examples alone.
func names(t *testing.T, module fs.FS) map[string]bool {
	found := make(map[string]bool)
	files, err := fs.Glob(module, "*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := fs.ReadFile(module, name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		pkg := file.Name.Name
		if strings.HasSuffix(name, "_test.go") {
			pkg = "" // its examples count, nothing else
		}
		for _, d := range file.Decls {
			declared(d, pkg, found)
		}
	}
	return found
}

func declared(d ast.Decl, pkg string, found map[string]bool) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := pkg + "." + d.Name.Name
		if d.Recv != nil {
			name = pkg + "." + receiver(d.Recv.List[0].Type) + "." + d.Name.Name
		}
		found[name] = true
		if strings.HasPrefix(d.Name.Name, "Example") {
			found[d.Name.Name] = true
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				for _, n := range s.Names {
					found[pkg+"."+n.Name] = true
				}
			case *ast.TypeSpec:
				found[pkg+"."+s.Name.Name] = true
				fields(s, pkg, found)
			}
		}
	}
}

// fields adds a struct's fields; of an embedded type the methods are its own.
func fields(s *ast.TypeSpec, pkg string, found map[string]bool) {
	st, ok := s.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range st.Fields.List {
		for _, n := range f.Names {
			found[pkg+"."+s.Name.Name+"."+n.Name] = true
		}
		if len(f.Names) == 0 {
			found[pkg+"."+s.Name.Name+"<"+receiver(f.Type)] = true
		}
	}
}

// receiver is the name of a type: of *Queue[T] Queue.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

var (
	codeSpan = regexp.MustCompile("`[^`\n]+`")
	ours     = regexp.MustCompile(`\b(futex|shm|pipe|mq|proc|pool|fuzz)\.([A-Z]\w*)(?:\.([A-Z]\w*))?`)
	example  = regexp.MustCompile(`\bExample\w*`)
	link     = regexp.MustCompile(`(?:\]\(|src(?:set)?=")([^)":#]+)[)"]`)
	word     = regexp.MustCompile(`\w+`)
)

// Every name of this module that the README mentions is there.
func TestReadmeNames(t *testing.T) {
	found := names(t, os.DirFS(".."))
	has := func(pkg, typ, method string) bool {
		if found[pkg+"."+typ+"."+method] {
			return true
		}
		for name := range found { // of an embedded type
			if inner, ok := strings.CutPrefix(name, pkg+"."+typ+"<"); ok && found[pkg+"."+inner+"."+method] {
				return true
			}
		}
		return false
	}
	n := 0
	for _, span := range codeSpan.FindAllString(readme(t), -1) {
		for _, m := range ours.FindAllStringSubmatch(span, -1) {
			n++
			if !found[m[1]+"."+m[2]] || m[3] != "" && !has(m[1], m[2], m[3]) {
				t.Errorf("%s: there is no such name", m[0])
			}
		}
		for _, e := range example.FindAllString(span, -1) {
			n++
			if !found[e] {
				t.Errorf("%s: there is no such example", e)
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d names found: is the pattern right?", n)
	}
}

// Every file that the README links to is there.
func TestReadmeLinks(t *testing.T) {
	links := link.FindAllStringSubmatch(codeSpan.ReplaceAllString(readme(t), ""), -1)
	for _, l := range links {
		if _, err := os.Stat(filepath.Join("..", l[1])); err != nil {
			t.Error(err)
		}
	}
	if len(links) < 10 {
		t.Errorf("only %d links found: is the pattern right?", len(links))
	}
}

// Every public name of Python's multiprocessing stands in the table, a row for
// each or with a reason.
func TestReadmePython(t *testing.T) {
	python := fuzz.Tool(t, "python3")
	out, err := exec.CommandContext(t.Context(), python, "-c", pythonNames).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, table, _ := strings.Cut(readme(t), "<summary>Every public name of multiprocessing")
	table, _, _ = strings.Cut(table, "</details>")
	var there []string
	for _, span := range codeSpan.FindAllString(table, -1) {
		there = append(there, word.FindAllString(span, -1)...)
	}
	all := strings.Fields(string(out))
	if len(all) < 150 {
		t.Errorf("only %d names: %s", len(all), all)
	}
	for _, name := range all {
		if !slices.Contains(there, name) {
			t.Errorf("%s is not in the table", name)
		}
	}
}

// pythonNames prints the public names of the modules and of the classes that
// they define: what __all__ names, and what is defined there and has no
// underscore in front.
const pythonNames = `
import importlib, inspect
names = set()
for m in ["", ".connection", ".managers", ".pool", ".process", ".queues", ".reduction",
          ".shared_memory", ".sharedctypes", ".synchronize", ".context"]:
    mod = importlib.import_module("multiprocessing" + m)
    names.update(getattr(mod, "__all__", []))
    for n, o in vars(mod).items():
        if n.startswith("_") or getattr(o, "__module__", None) != mod.__name__:
            continue
        names.add(n)
        if inspect.isclass(o) and n in ("BaseProcess", "Pool", "ApplyResult", "IMapIterator", "Queue", "JoinableQueue",
                "SimpleQueue", "Connection", "Listener", "SharedMemory", "ShareableList", "Condition", "Event", "Barrier",
                "Semaphore", "Lock", "Synchronized", "SynchronizedArray", "SynchronizedString", "Token"):
            names.update(k for k in vars(o) if not k.startswith("_"))
print(" ".join(sorted(names)))
`
