package shm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// ownMount is for a child that mounts something over /dev/shm, which nobody else
// sees.
func ownMount(t testing.TB) *syscall.SysProcAttr {
	t.Helper()
	fuzz.Tool(t, "namespaces")
	return &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
}

func mountSmall(options string) error {
	return os.NewSyscallError("mount", unix.Mount("tmpfs", "/dev/shm", "tmpfs", 0, options))
}

// files are what is in /dev/shm, with hidden names.
func files() (string, error) {
	entries, err := os.ReadDir("/dev/shm")
	return fmt.Sprint(entries), err
}

// says is wants, and the text must have all these words.
func says(got, want error, words ...string) error {
	err := wants(got, want)
	for _, w := range words {
		if err == nil && !strings.Contains(got.Error(), w) {
			err = errorf("error %q, want %q in it", got, w)
		}
	}
	return err
}

// fullMemory is the child of the next test.
var fullMemory = proc.Register("shm-full", func(context.Context, string) error {
	if err := mountSmall("size=64k"); err != nil {
		return err
	}
	a, err := shm.Create("a", 40<<10, nil)
	if err != nil {
		return err
	}
	m, err := a.Map(0, 0, shm.ReadWrite)
	if err != nil {
		return err
	}
	errs := []error{
		says(second(shm.Create("b", 32<<10, nil)), unix.ENOSPC, "32768 bytes wanted", "24576 free", "/dev/shm/b"),
		says(second(shm.Create("b", 1<<30, nil)), unix.ENOSPC, "1073741824 bytes wanted", "24576 free"),
		// What is there can't grow over the edge either, and stays what it is.
		says(a.Grow(72<<10), unix.ENOSPC, "from 40960 to 73728 bytes", "32768 bytes wanted", "24576 free"),
	}
	back := shm.WithoutUnnamed()
	errs = append(errs, says(second(shm.Create("b", 32<<10, nil)), unix.ENOSPC, "32768 bytes wanted"))
	back()
	if list, err := files(); err != nil || list != "[- a]" {
		errs = append(errs, errorf("there are %s, %v", list, err))
	}
	if a.Size() != 40<<10 {
		errs = append(errs, errorf("size %d after a Grow that failed", a.Size()))
	}
	// No byte of it was only promised.
	for i := range m.Bytes() {
		m.Bytes()[i] = byte(i)
	}
	b, err := shm.Create("b", 24<<10, nil)
	if err != nil {
		return errors.Join(append(errs, errorf("what is left: %w", err))...)
	}
	// It is full to the last page: one more byte and one more file.
	errs = append(errs, says(second(shm.Create("c", 1, nil)), unix.ENOSPC, "1 bytes wanted, 0 free"))
	// What C made is only promised. We learn it by an error.
	if err := os.WriteFile("/dev/shm/hole", nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate("/dev/shm/hole", 4096); err != nil {
		return err
	}
	hole, err := shm.Open("hole", nil)
	if err != nil {
		return err
	}
	h, err := hole.Map(0, 0, shm.ReadWrite)
	if err != nil {
		return err
	}
	errs = append(errs, says(second(h.WriteAt([]byte("x"), 0)), unix.EFAULT, "offset 0 of 4096"))
	errs = append(errs, h.Close(), hole.Close(), m.Close(), a.Close(), b.Close())
	errs = append(errs, shm.Unlink("a"), shm.Unlink("b"), shm.Unlink("hole"))
	if list, err := files(); err != nil || list != "[]" {
		errs = append(errs, errorf("there are %s, %v", list, err))
	}
	return errors.Join(errs...)
})

// Cases 268 and the issue's own: somebody has filled /dev/shm. Creation says so,
// with both numbers, and what is there works on.
func TestCase268FullMemory(t *testing.T) { inChild(t, fullMemory, "", ownMount(t)) }

var noInodes = proc.Register("shm-inodes", func(context.Context, string) error {
	if err := mountSmall("size=1m,nr_inodes=4"); err != nil { // the root is one
		return err
	}
	var errs []error
	for _, name := range []string{"a", "b"} {
		o, err := shm.Create(name, 1, nil)
		if err != nil {
			return err
		}
		errs = append(errs, o.Close())
	}
	if unix.Setxattr("/dev/shm/a", "user.filler", nil, 0) == unix.EOPNOTSUPP {
		// Marks take no room (Linux before 6.6): there is some for one more.
		o, err := shm.Create("c", 1, nil)
		if err != nil {
			return err
		}
		errs = append(errs, o.Close(), says(second(shm.Create("d", 1, nil)), unix.ENOSPC, "0 of 4 files free"))
		return errors.Join(append(errs, shm.Unlink("a"), shm.Unlink("b"), shm.Unlink("c"))...)
	}
	// The marks of both take the rest of the fourth.
	errs = append(errs, says(second(shm.Create("c", 1, nil)), unix.ENOSPC, "0 of 4 files free"))
	if list, err := files(); err != nil || list != "[- a - b]" {
		errs = append(errs, errorf("there are %s, %v", list, err))
	}
	// Now one more file fits, but not its mark. It gets the other one.
	for n := 1024; n >= 0; n-- {
		if unix.Setxattr("/dev/shm/a", "user.filler", make([]byte, n), 0) == nil {
			break
		}
	}
	if err := unix.Mount("", "/dev/shm", "", unix.MS_REMOUNT, "nr_inodes=5"); err != nil {
		return err
	}
	o, err := shm.Create("c", 1, nil)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	var st unix.Stat_t
	if err := unix.Lstat("/dev/shm/c", &st); err != nil || st.Mode != unix.S_IFREG|unix.S_ISVTX|0o600 {
		errs = append(errs, errorf("mode %#o, %v", st.Mode, err))
	}
	o.Close()
	if names, err := shm.Sweep("c"); err != nil || len(names) != 1 {
		errs = append(errs, errorf("swept %v, %v", names, err))
	}
	return errors.Join(append(errs, shm.Unlink("a"), shm.Unlink("b"))...)
})

func TestCase022NoInodes(t *testing.T) { inChild(t, noInodes, "", ownMount(t)) }

// mappings are the lines of our memory map that lead to /dev/shm.
func mappings() int {
	maps, _ := os.ReadFile("/proc/self/maps")
	return strings.Count(string(maps), "/dev/shm/")
}

var noDescriptors = proc.Register("shm-nofile", func(_ context.Context, name string) error {
	r, w, err := os.Pipe() // the runtime's poller needs two, and now has them
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	there, err := shm.Create(name+"-there", 4096, nil)
	if err != nil {
		return err
	}
	defer shm.Unlink(name + "-there")
	defer there.Close()
	before := mappings()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}); err != nil {
		return err
	}
	var taken []int
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	_, created := shm.Create(name, 4096, nil)
	_, anon := shm.CreateAnon("none", 4096, nil)
	_, opened := shm.Open(name+"-there", nil)
	// A mapping needs none.
	m, mapped := there.Map(0, 0, shm.ReadWrite)
	for _, fd := range taken {
		unix.Close(fd)
	}
	errs := []error{wants(created, unix.EMFILE), wants(anon, unix.EMFILE), wants(opened, unix.EMFILE), mapped}
	if mapped == nil {
		errs = append(errs, m.Close())
	}
	if _, err := os.Lstat("/dev/shm/" + name); !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, errorf("a name is left: %v", err))
	}
	if n := mappings(); n != before {
		errs = append(errs, errorf("%d mappings, before %d", n, before))
	}
	o, err := shm.Create(name, 4096, nil)
	if err == nil {
		err = errors.Join(o.Close(), shm.Unlink(name))
	}
	return errors.Join(append(errs, err)...)
})

func TestCase023NoDescriptors(t *testing.T) { inChild(t, noDescriptors, newName(t), nil) }

var noMappings = proc.Register("shm-maps", func(context.Context, string) error {
	o, err := shm.CreateAnon("many", 4096, nil)
	if err != nil {
		return err
	}
	all := make([]*shm.Mapping, 0, 1<<17)
	var ended error
	for len(all) < cap(all) {
		m, err := o.Map(0, 0, shm.ReadWrite)
		if err != nil {
			ended = err
			break
		}
		all = append(all, m)
	}
	if ended == nil {
		return errorf("no end after %d", len(all))
	}
	n := len(all)
	for _, m := range all[n-100:] { // room for the runtime
		m.Close()
	}
	all = all[:n-100]
	if err := wants(ended, unix.ENOMEM); err != nil {
		return errorf("after %d mappings: %w", n, err)
	}
	all[0].Bytes()[7] = 7
	var errs []error
	for i, m := range all {
		if m.Bytes()[7] != 7 {
			errs = append(errs, errorf("mapping %d is not what it was", i))
		}
		errs = append(errs, m.Close())
	}
	return errors.Join(append(errs, o.Close())...)
})

// noAddressSpace maps what is larger than the room that is left for mappings. The
// file is a hole, so that only that is missing.
var noAddressSpace = proc.Register("shm-as", func(context.Context, string) error {
	const room, size = 256 << 20, 1 << 30
	fd, err := unix.MemfdCreate("hole", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.Ftruncate(fd, size); err != nil {
		return err
	}
	o, err := shm.FromFile(os.NewFile(uintptr(fd), "hole"), &shm.Attr{AllowUnsealed: true})
	if err != nil {
		return err
	}
	var was unix.Rlimit
	var pages uint64
	statm, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(statm), &pages)
	}
	if err := errors.Join(err, unix.Getrlimit(unix.RLIMIT_AS, &was)); err != nil {
		return err
	}
	low := unix.Rlimit{Cur: pages*uint64(os.Getpagesize()) + room, Max: was.Max}
	if err := unix.Setrlimit(unix.RLIMIT_AS, &low); err != nil {
		return err
	}
	_, large := o.Map(0, 0, shm.ReadWrite)
	m, small := o.Map(0, 4096, shm.ReadWrite)
	errs := []error{wants(large, unix.ENOMEM), small, unix.Setrlimit(unix.RLIMIT_AS, &was)}
	if small == nil {
		errs = append(errs, m.Close())
	}
	if m, err = o.Map(0, 0, shm.ReadWrite); err == nil { // nothing was lost by it
		err = m.Close()
	}
	return errors.Join(append(errs, err, o.Close())...)
})

func TestCase024NoAddressSpace(t *testing.T) { inChild(t, noAddressSpace, "", nil) }

func TestCase024NoMappings(t *testing.T) {
	limit, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		t.Fatal(err)
	}
	if s := strings.TrimSpace(string(limit)); len(s) > 5 {
		t.Skipf("vm.max_map_count is %s: too many to reach", s)
	}
	inChild(t, noMappings, "", nil)
}
