package pool_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rawipc/rawipc/pool"
)

type pair struct{ A, B int }

var (
	add         = pool.Register("article add", func(_ context.Context, p pair) (int, error) { return p.A + p.B, nil })
	processData = pool.Register("article process_data", func(_ context.Context, word string) (string, error) {
		time.Sleep(20 * time.Millisecond)
		return strings.ToUpper(word), nil
	})
)

// Python's pool.apply(function, args=(a, b)): one result, waited for. Several
// arguments are a struct.
func ExampleFunc_Call() {
	p, err := pool.New(&pool.Config{Workers: pool.CPUs()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	fmt.Println(add.Call(context.Background(), p, pair{3, 4}))
	// Output: 7 <nil>
}

// Python's imap: results one by one, in order, while others still run.
func ExampleFunc_MapSeq() {
	p, err := pool.New(&pool.Config{Workers: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	for n, err := range square.MapSeq(context.Background(), p, slices.Values([]int{1, 2, 3, 4})) {
		fmt.Println(n, err)
	}
	// Output:
	// 1 <nil>
	// 4 <nil>
	// 9 <nil>
	// 16 <nil>
}

// Python's imap_unordered: results as they come.
func ExampleFunc_MapUnordered() {
	p, err := pool.New(&pool.Config{Workers: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	sum := 0
	for n, err := range square.MapUnordered(context.Background(), p, slices.Values([]int{1, 2, 3, 4})) {
		if err != nil {
			fmt.Println(err)
			return
		}
		sum += n
	}
	fmt.Println(sum)
	// Output: 30
}

// Python's close and join: no new calls, and all that were accepted are done.
func ExamplePool_Shutdown() {
	ctx := context.Background()
	p, err := pool.New(&pool.Config{Workers: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	result := square.Go(ctx, p, 5)
	fmt.Println(p.Shutdown(ctx))
	fmt.Println(result.Wait(ctx))
	_, err = square.Call(ctx, p, 6)
	fmt.Println(err)
	// Output:
	// <nil>
	// 25 <nil>
	// pool: file already closed
}

// Python's "with Pool(4) as pool: pool.map(square, range(10))".
func ExampleNew() {
	p, err := pool.New(&pool.Config{Workers: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	fmt.Println(square.Map(context.Background(), p, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}))
	// Output: [0 1 4 9 16 25 36 49 64 81] <nil>
}

// Python's apply_async for five words on three processes, then get for each.
func ExampleFunc_Go() {
	ctx := context.Background()
	p, err := pool.New(&pool.Config{Workers: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	var results []*pool.Pending[string]
	for _, word := range []string{"apple", "banana", "cherry", "date", "elderberry"} {
		results = append(results, processData.Go(ctx, p, word))
	}
	for _, r := range results {
		fmt.Println(r.Wait(ctx))
	}
	// Output:
	// APPLE <nil>
	// BANANA <nil>
	// CHERRY <nil>
	// DATE <nil>
	// ELDERBERRY <nil>
}
