// Uncovered holds a coverage profile against the list of what tests do not
// reach, and the reasons: run by .ci/run coverage.
//
//	go run .ci/uncovered.go [-print] PROFILE LIST
//
// It fails if less than 85 % of the statements outside bench ran, or if a return
// of an error did not run and is not in LIST. One that is in LIST may run: some do
// by luck, in one run of ten. What LIST has and the source has no more is
// named, and no failure. A return is named by its file, its function and its own
// text, so that the list survives other changes; -print prints those that did not
// run, as LIST wants them.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	module = "github.com/rawipc/rawipc/"
	least  = 85.0
)

// block is what the profile says of a piece of code.
type block struct {
	from, to   position
	statements int
	ran        bool
}

type position struct{ line, column int }

func (p position) before(q position) bool {
	return p.line < q.line || p.line == q.line && p.column <= q.column
}

func main() {
	log.SetFlags(0)
	all := flag.Bool("print", false, "print the returns of errors that did not run, and end")
	flag.Parse()
	profile, err := read(flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	missed, there := make(map[string]int), make(map[string]int)
	for file, blocks := range profile {
		if err := returns(file, blocks, missed, there); err != nil {
			log.Fatal(err)
		}
	}
	if *all {
		for _, k := range slices.Sorted(maps.Keys(missed)) {
			fmt.Println(line(k, missed[k]))
		}
		return
	}
	listed, err := list(flag.Arg(1))
	if err != nil {
		log.Fatal(err)
	}
	bad := summary(profile)
	for _, k := range slices.Sorted(maps.Keys(missed)) {
		if missed[k] > listed[k] {
			fmt.Println("not reached, and no reason given:", line(k, missed[k]))
			bad = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(listed)) {
		if gone := listed[k] - there[k]; gone > 0 {
			fmt.Println("listed, but no more in the source:", line(k, gone))
		}
	}
	fmt.Printf("%d of %d returns of errors not reached in this run, %d listed with a reason\n", sum(missed), sum(there), sum(listed))
	if bad {
		os.Exit(1)
	}
}

// read reads a profile: by file, the blocks that it has, each counted once.
func read(name string) (map[string][]block, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found := make(map[string]map[block]bool)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		file, rest, ok := strings.Cut(strings.TrimPrefix(lines.Text(), module), ":")
		if !ok || file == "mode" {
			continue
		}
		var b block
		var times int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.from.line, &b.from.column, &b.to.line, &b.to.column, &b.statements, &times); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", name, lines.Text(), err)
		}
		if found[file] == nil {
			found[file] = make(map[block]bool)
		}
		found[file][b] = found[file][b] || times > 0
	}
	profile := make(map[string][]block)
	for file, blocks := range found {
		for b, ran := range blocks {
			b.ran = ran
			profile[file] = append(profile[file], b)
		}
	}
	return profile, lines.Err()
}

// returns counts those of file whose last value, in a function that returns an
// error, is not nil: all that are there, and those that did not run.
func returns(file string, blocks []block, missed, there map[string]int) error {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, file, nil, 0)
	if err != nil {
		return err
	}
	for _, d := range tree.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			name = text(fset, f.Recv.List[0].Type) + "." + name
		}
		walk(f.Body, f.Type, func(r *ast.ReturnStmt) {
			key := file + " " + strings.TrimPrefix(name, "*") + ": " + text(fset, r)
			there[key]++
			p := fset.Position(r.Pos())
			for _, b := range blocks {
				if at := (position{p.Line, p.Column}); !b.ran && b.from.before(at) && at.before(b.to) {
					missed[key]++
					return
				}
			}
		})
	}
	return nil
}

// walk calls see with each return of an error in body, those of functions
// within it, too.
func walk(body ast.Node, of *ast.FuncType, see func(*ast.ReturnStmt)) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			walk(n.Body, n.Type, see)
			return false
		case *ast.ReturnStmt:
			if of.Results == nil || len(n.Results) == 0 {
				break
			}
			last := of.Results.List[len(of.Results.List)-1]
			if t, ok := last.Type.(*ast.Ident); !ok || t.Name != "error" {
				break
			}
			if v, ok := n.Results[len(n.Results)-1].(*ast.Ident); !ok || v.Name != "nil" {
				see(n)
			}
		}
		return true
	})
}

// text is a piece of the source in one line.
func text(fset *token.FileSet, n ast.Node) string {
	var b bytes.Buffer
	printer.Fprint(&b, fset, n)
	return strings.Join(strings.Fields(b.String()), " ")
}

// list reads the reasons: lines that begin with #, and what follows them until
// the next such, are a group with one reason.
func list(name string) (map[string]int, error) {
	data, err := os.ReadFile(name)
	listed, reason := make(map[string]int), false
	for i, l := range strings.Split(string(data), "\n") {
		if l == "" || strings.HasPrefix(l, "#") {
			reason = l != "" // an empty line ends a group
			continue
		}
		if !reason {
			return nil, fmt.Errorf("%s:%d: no reason stands above it", name, i+1)
		}
		k, n := l, 1
		if before, after, ok := strings.Cut(l, " × "); ok {
			if _, err := fmt.Sscan(before, &n); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
			}
			k = after
		}
		listed[k] += n
	}
	return listed, err
}

func line(key string, n int) string {
	if n == 1 {
		return key
	}
	return fmt.Sprintf("%d × %s", n, key)
}

func sum(of map[string]int) (n int) {
	for _, v := range of {
		n += v
	}
	return n
}

// summary prints how much of each package ran, and reports whether it is too
// little in all.
func summary(profile map[string][]block) bool {
	ran, all := make(map[string]int), make(map[string]int)
	for file, blocks := range profile {
		for _, b := range blocks {
			for _, of := range []string{filepath.Dir(file), "all"} {
				all[of] += b.statements
				if b.ran {
					ran[of] += b.statements
				}
			}
		}
	}
	for _, of := range slices.Sorted(maps.Keys(all)) {
		fmt.Printf("%-6s %5.1f %% of %d statements\n", of, 100*float64(ran[of])/float64(all[of]), all[of])
	}
	if share := 100 * float64(ran["all"]) / float64(all["all"]); share < least {
		fmt.Printf("want %.0f %%\n", least)
		return true
	}
	return false
}
