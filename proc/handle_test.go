package proc_test

import (
	"net"
	"os"
	"reflect"
	"testing"

	"github.com/rawipc/rawipc/proc"
)

type treeOf[T any] struct {
	Left, Right *treeOf[T]
	leaf        T
}

func TestFindHandle(t *testing.T) {
	for _, c := range []struct {
		t    reflect.Type
		want string
	}{
		{reflect.TypeFor[int](), ""},
		{reflect.TypeFor[treeOf[any]](), ""},
		{reflect.TypeFor[func(*os.File)](), ""},
		{reflect.TypeFor[*os.File](), "*os.File"},
		{reflect.TypeFor[struct{ A, B *net.UnixConn }](), "struct { A *net.UnixConn; B *net.UnixConn }.A"},
		{reflect.TypeFor[treeOf[port[int]]](), "proc_test.treeOf[github.com/rawipc/rawipc/proc_test.port[int]].leaf"},
		{reflect.TypeFor[map[string][]*port[int]](), "map[string][]*proc_test.port[int][][]"},
		{reflect.TypeFor[map[*os.File]int](), "map[*os.File]int[key]"},
	} {
		if got := proc.FindHandle(c.t); got != c.want {
			t.Errorf("%v: %q, want %q", c.t, got, c.want)
		}
	}
}
