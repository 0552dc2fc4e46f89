package fuzz_test

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
)

// The rules of the house about documentation.
var (
	// documented are the packages that other programs import.
	documented = []string{"futex", "shm", "pipe", "mq", "proc", "pool", "fuzz"}
	// sections are the headings that each package comment has, beside its own.
	sections = []string{"When a process is killed", "What it costs", "Kernels", "Sources"}
	// says are the words of which one stands in the comment of a function that
	// takes a context, for what it is about: when the call returns, and what the
	// end of the context does to it.
	says = map[string][]string{
		"until when it blocks":              {"until", "waits", "blocks", "waiting", "wait "},
		"what the end of its context means": {"ctx", "context"},
	}
)

// undocumented returns what in a package's comments breaks a rule, a line each.
func undocumented(module fs.FS, pkg string) (found []string, err error) {
	add := func(format string, args ...any) { found = append(found, pkg+": "+fmt.Sprintf(format, args...)) }
	fset := token.NewFileSet()
	var files []*ast.File
	names, err := fs.Glob(module, path.Join(pkg, "*.go"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := fs.ReadFile(module, name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		if !strings.HasSuffix(name, "_test.go") {
			files = append(files, file)
		}
	}
	p, err := doc.NewFromFiles(fset, files, modulePath+"/"+pkg)
	if err != nil {
		return nil, err
	}
	ofPackage(p, add)
	values := func(vs []*doc.Value) {
		for _, v := range vs {
			ofValues(v, add)
		}
	}
	funcs := func(fns []*doc.Func) {
		for _, f := range fns {
			ofFunc(f, add)
		}
	}
	values(p.Consts)
	values(p.Vars)
	funcs(p.Funcs)
	for _, t := range p.Types {
		begins(t.Name, t.Doc, add)
		together(t, add)
		ofFields(fset, t, add)
		values(t.Consts)
		values(t.Vars)
		funcs(t.Funcs)
		funcs(t.Methods)
	}
	return found, nil
}

// ofPackage wants every section in the package comment, and a drawing: a block
// of code with a line or an arrow in it.
func ofPackage(p *doc.Package, add func(string, ...any)) {
	var headings []string
	drawing := false
	for _, block := range p.Parser().Parse(p.Doc).Content {
		switch b := block.(type) {
		case *comment.Heading:
			var text strings.Builder
			for _, t := range b.Text {
				if plain, ok := t.(comment.Plain); ok {
					text.WriteString(string(plain))
				}
			}
			headings = append(headings, text.String())
		case *comment.Code:
			drawing = drawing || strings.ContainsAny(b.Text, "─│►┌") || strings.Contains(b.Text, "-->")
		}
	}
	for _, s := range sections {
		if !slices.Contains(headings, s) {
			add("the package comment has no section %q", s)
		}
	}
	if !drawing {
		add("the package comment has no drawing")
	}
}

// begins wants a comment that begins with the name.
func begins(name, text string, add func(string, ...any)) {
	for _, article := range []string{"A ", "An ", "The "} {
		text = strings.TrimPrefix(text, article)
	}
	if rest, ok := strings.CutPrefix(text, name); !ok || !strings.HasPrefix(strings.TrimLeft(rest, ",.:;'"), " ") && strings.TrimSpace(rest) != "" {
		add("%s: the comment %q doesn't begin with the name", name, firstLine(text))
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// ofValues wants a comment for each exported constant and variable: its own, or
// for a group that of the group.
func ofValues(v *doc.Value, add func(string, ...any)) {
	if !v.Decl.Lparen.IsValid() {
		begins(v.Names[0], v.Doc, add)
		return
	}
	for _, spec := range v.Decl.Specs {
		s := spec.(*ast.ValueSpec)
		if v.Doc == "" && s.Doc == nil && s.Comment == nil && s.Names[0].IsExported() {
			add("%s: no comment", s.Names[0].Name)
		}
	}
}

// ofFields wants a comment for the exported fields and interface methods: for
// each group of them, up to an empty line, one at least, or the field's name in
// the type's comment.
func ofFields(fset *token.FileSet, t *doc.Type, add func(string, ...any)) {
	for _, spec := range t.Decl.Specs {
		var list *ast.FieldList
		switch u := spec.(*ast.TypeSpec).Type.(type) {
		case *ast.StructType:
			list = u.Fields
		case *ast.InterfaceType:
			list = u.Methods
		default:
			continue
		}
		words := strings.FieldsFunc(t.Doc, func(r rune) bool { return !unicode.IsLetter(r) })
		var bare []string // of this group
		covered := false
		end := 0
		done := func() {
			for _, n := range bare {
				if !covered && !slices.Contains(words, n) {
					add("%s.%s: no comment", t.Name, n)
				}
			}
			bare, covered = nil, false
		}
		for _, f := range list.List {
			start := f.Pos()
			if f.Doc != nil {
				start = f.Doc.Pos()
			}
			if fset.Position(start).Line > end+1 {
				done()
			}
			covered = covered || f.Doc != nil || f.Comment != nil
			for _, n := range f.Names {
				if n.IsExported() {
					bare = append(bare, n.Name)
				}
			}
			end = fset.Position(f.End()).Line
		}
		done()
	}
}

// shared are the words of which one stands in the comment of a type that has
// methods, or else of each method: who may call it concurrently.
var shared = regexp.MustCompile(`concurren|goroutine|at once|at a time|any number|does not change`)

// together wants that said of every type whose methods do more than to tell an
// error.
func together(t *doc.Type, add func(string, ...any)) {
	var silent []string
	for _, m := range t.Methods {
		if m.Name == "Error" {
			return
		}
		if m.Name != "String" && m.Name != "Name" && !shared.MatchString(m.Doc) {
			silent = append(silent, m.Name)
		}
	}
	if len(silent) > 0 && !shared.MatchString(t.Doc) {
		add("%s: neither the type's comment nor those of %s say who may call them concurrently", t.Name, strings.Join(silent, ", "))
	}
}

// ofFunc wants a comment that begins with the name and, if a context comes
// first, says until when the call blocks and what the context's end does.
func ofFunc(f *doc.Func, add func(string, ...any)) {
	name := f.Name
	if f.Recv != "" {
		name = strings.TrimPrefix(f.Recv, "*") + "." + name
	}
	begins(f.Name, f.Doc, func(format string, args ...any) {
		args[0] = name
		add(format, args...)
	})
	params := f.Decl.Type.Params.List
	if len(params) == 0 {
		return
	}
	sel, ok := params[0].Type.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != "Context" {
		return
	}
	for what, words := range says {
		if !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(f.Doc, w) }) {
			add("%s: the comment doesn't say %s", name, what)
		}
	}
}

func TestDocumentation(t *testing.T) {
	for _, pkg := range documented {
		found, err := undocumented(os.DirFS(".."), pkg)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			t.Error(f)
		}
	}
}

// Each rule can be broken, and what is right is left alone.
func TestDocumentationCanFail(t *testing.T) {
	const head = "// Package p does it.\n//\n//\ta ──► b\n//\n" +
		"// # When a process is killed\n//\n// x\n//\n// # What it costs\n//\n// x\n//\n" +
		"// # Kernels\n//\n// x\n//\n// # Sources\n//\n// x\npackage p\n\nimport \"context\"\n\n"
	const right = "// A T is one.\ntype T struct {\n\tOne int\n\tB   int // b\n\n\thidden int\n}\n\n" +
		"// F waits until ctx ends.\nfunc F(ctx context.Context) {}\n\n" +
		"// These are many.\nconst (\n\tX = 1\n\tY = 2\n)\n\nvar (\n\tV = 1 // a value\n)\n\n" +
		"func unexported(ctx context.Context) {}\n"
	for _, row := range []struct{ old, to, want string }{
		{"", "", ""},
		{"──►", "to", "no drawing"},
		{"# Kernels", "# Colonels", `no section "Kernels"`},
		{"// A T is one.", "// It is one.", `T: the comment "It is one." doesn't begin with the name`},
		{"// A T is one.", "// Two of them.", "doesn't begin with the name"},
		{"// A T is one.\n", "", "doesn't begin with the name"},
		{"// b", "", "T.One: no comment; p: T.B: no comment"},
		{"hidden", "C", "T.C: no comment"},
		{"F waits until ctx ends", "F ends with ctx", "until when it blocks"},
		{"F waits until ctx ends", "F waits until noon", "what the end of its context means"},
		{"F waits until ctx ends", "Waits until ctx ends", "F: the comment"},
		{"// These are many.\n", "", "X: no comment; p: Y: no comment"},
		{"// a value", "", "V: no comment"},
		{"func unexported", "// M does it.\nfunc (T) M() {}\n\nfunc unexported", "T: neither the type's comment nor those of M say"},
		{"func unexported", "// M does it, once at a time.\nfunc (T) M() {}\n\nfunc unexported", ""},
	} {
		text := head + right
		if row.old != "" && strings.Count(text, row.old) != 1 {
			t.Fatalf("%q is no place", row.old)
		}
		module := fstest.MapFS{"p/p.go": &fstest.MapFile{Data: []byte(strings.Replace(text, row.old, row.to, 1))}}
		if row.old == "" {
			module["p/p.go"].Data = []byte(text)
		}
		found, err := undocumented(module, "p")
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(found, "; ")
		if row.want == "" && got != "" || !strings.Contains(got, row.want) {
			t.Errorf("%q for %q:\ngot  %s\nwant %s", row.to, row.old, got, row.want)
		}
	}
}
