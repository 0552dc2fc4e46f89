package pool

import (
	"os"
	"path/filepath"
	"testing"
)

func TestQuota(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		want  int
	}{
		{nil, 8},
		{map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 8},
		{map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 2},
		{map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1},
		{map[string]string{"proc/self/cgroup": "3:cpu,cpuacct:/x\n", "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "300000\n",
			"sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"}, 3},
		{map[string]string{"proc/self/cgroup": "3:cpu:/x\n", "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "-1\n"}, 8},
	} {
		root := t.TempDir()
		for name, text := range c.files {
			os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700)
			if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if n := cpusBelow(root, 8); n != c.want {
			t.Errorf("%v: %d CPUs, want %d", c.files, n, c.want)
		}
	}
}
