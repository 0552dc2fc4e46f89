package pool_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rawipc/rawipc/pool"
)

var square = pool.Register("square", func(_ context.Context, n int) (int, error) { return n * n, nil })

// Squares of numbers, computed by three processes. A program calls
// proc.Dispatch first in main; in a test TestMain has done so.
func Example() {
	ctx := context.Background()
	p, err := pool.New(&pool.Config{Workers: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	one, err := square.Call(ctx, p, 12)
	fmt.Println(one, err)
	all, err := square.Map(ctx, p, []int{1, 2, 3, 4, 5})
	fmt.Println(all, err)
	// Output:
	// 144 <nil>
	// [1 4 9 16 25] <nil>
}

var exit = pool.Register("exit", func(_ context.Context, code string) (int, error) {
	n, err := strconv.Atoi(code)
	if err == nil {
		os.Exit(n) // a crash, as far as the pool can see
	}
	return 0, err
})

// What a call does to its worker is that call's error, and nobody else's.
func ExampleWorkerError() {
	ctx := context.Background()
	p, err := pool.New(&pool.Config{Workers: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()

	_, err = exit.Call(ctx, p, "7")
	var dead *pool.WorkerError
	if errors.As(err, &dead) {
		fmt.Println(dead.Func, "ended its worker:", dead.State)
	}
	_, err = exit.Call(ctx, p, "seven")
	fmt.Println(err)
	n, err := square.Call(ctx, p, 3)
	fmt.Println(n, err)
	// Output:
	// exit ended its worker: exit status 7
	// pool: exit: strconv.Atoi: parsing "seven": invalid syntax
	// 9 <nil>
}

var hashFile = pool.Register("hashFile", func(_ context.Context, path string) ([sha256.Size]byte, error) {
	data, err := os.ReadFile(path)
	return sha256.Sum256(data), err
})

// SHA-256 of every file of Go's own library, in worker processes.
func ExampleFunc_Map() {
	files, err := sources()
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := pool.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	sums, err := hashFile.Map(context.Background(), p, files)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("a sum for each file:", len(files) > 1000 && len(sums) == len(files))
	// Output: a sum for each file: true
}

// sources lists the files below Go's src directory.
func sources() (files []string, err error) {
	root := filepath.Join(build.Default.GOROOT, "src")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	return files, err
}

// The sums of ExampleFunc_Map are those that this process alone computes.
func TestHashFiles(t *testing.T) {
	files, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		files = files[:min(len(files), 500)]
	}
	p := newPool(t, 2)
	sums, err := hashFile.Map(within(t), p, files)
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if sums[i] != sha256.Sum256(data) {
			t.Errorf("%s: %x", path, sums[i])
		}
	}
	t.Logf("%d files", len(files))
}
