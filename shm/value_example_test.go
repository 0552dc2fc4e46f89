package shm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

var addTo = proc.Register("addTo", func(_ context.Context, v *shm.Value[int32]) error {
	for range 1000 {
		if _, err := shm.Add(v, 1); err != nil {
			return err
		}
	}
	return nil
})

// Two processes add to one number: Python's Value('i', 0).
func ExampleValue() {
	ctx := context.Background()
	v, err := shm.NewValue(int32(0))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()
	var children []*proc.Process
	for range 2 {
		p, err := addTo.Start(ctx, v)
		if err != nil {
			fmt.Println(err)
			return
		}
		children = append(children, p)
	}
	for _, p := range children {
		if _, err := p.Wait(ctx); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(v.Load())
	// Output: 2000
}

type numbers struct {
	Value *shm.Value[float64]
	Array *shm.Array[int]
}

var square = proc.Register("square", func(_ context.Context, n numbers) error {
	if err := n.Value.Store(3.1415927); err != nil {
		return err
	}
	return n.Array.Update(func(xs []int) error {
		for i := range xs {
			xs[i] *= xs[i]
		}
		return nil
	})
})

// A child changes a number and some numbers: Python's Value('d', 0.0) and
// Array('i', [1, 2, 3, 4, 5]).
func ExampleArray() {
	ctx := context.Background()
	v, err := shm.NewValue(0.0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()
	a, err := shm.NewArray([]int{1, 2, 3, 4, 5})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	p, err := square.Start(ctx, numbers{v, a})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := p.Wait(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println(v.Load())
	fmt.Println(a.Slice())
	// Output:
	// 3.1415927
	// [1 4 9 16 25]
}

// A value that takes more than a word is changed as a whole: nobody sees, and
// no death leaves, one field without the other.
func ExampleValue_Update() {
	type account struct{ Balance, Payments int64 }
	v, err := shm.NewValue(account{Balance: 100})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()
	pay := func(amount int64) error {
		return v.Update(func(a *account) error {
			if a.Balance < amount {
				return fmt.Errorf("%d is all there is", a.Balance)
			}
			a.Balance -= amount
			a.Payments++
			return nil
		})
	}
	fmt.Println(pay(70), v.Load())
	fmt.Println(pay(70), v.Load())
	// Output:
	// <nil> {30 1}
	// 30 is all there is {30 1}
}

var dieInside = proc.Register("dieInside", func(_ context.Context, a *shm.Array[int]) error {
	return a.Update(func(xs []int) error {
		xs[0] -= 10 // and never xs[1] += 10
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	})
})

// A process is killed in the middle of a change. The next one is told, and
// repairs what only the program itself can know how to.
func ExampleArray_Recover() {
	ctx := context.Background()
	a, err := shm.NewArray([]int{50, 50})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	p, err := dieInside.Start(ctx, a)
	if err != nil {
		fmt.Println(err)
		return
	}
	p.Wait(ctx)
	err = a.Update(func([]int) error { return nil })
	fmt.Println(errors.Is(err, futex.ErrOwnerDead))
	err = a.Recover(func(xs []int) error {
		xs[1] = 100 - xs[0]
		return nil
	})
	fmt.Println(err, a.Slice())
	// Output:
	// true
	// <nil> [40 60]
}

// Another program, or another run of this one, finds a value by its name.
func ExampleCreateValue() {
	name := fmt.Sprintf("rawipc-example-%d", os.Getpid())
	v, err := shm.CreateValue(name, 42, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()
	defer shm.Unlink(name)
	same, err := shm.OpenValue[int](name, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer same.Close()
	fmt.Println(same.Load())
	_, err = shm.OpenValue[float64](name, nil)
	fmt.Println(errors.Is(err, shm.ErrCorrupt))
	// Output:
	// 42
	// true
}
