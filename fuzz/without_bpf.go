package fuzz

import (
	"encoding/binary"
	"maps"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// auditArch is the kernel's word for the architecture whose call numbers the
// rules use.
var auditArch = map[string]uint32{
	"386":     unix.AUDIT_ARCH_I386,
	"amd64":   unix.AUDIT_ARCH_X86_64,
	"arm64":   unix.AUDIT_ARCH_AARCH64,
	"riscv64": unix.AUDIT_ARCH_RISCV64,
	"s390x":   unix.AUDIT_ARCH_S390X,
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// program is the filter for the rules: struct seccomp_data begins with the
// call's number and the architecture; the arguments follow from byte 16 on.
func program(rules []rule) []unix.SockFilter {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		and   = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K
	)
	p := []unix.SockFilter{
		{Code: load, K: 4},
		{Code: equal, Jt: 1, K: auditArch[runtime.GOARCH]},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
	}
	for _, r := range rules {
		refuse := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(r.errno)}
		p = append(p, unix.SockFilter{Code: load, K: 0})
		if r.arg < 0 {
			p = append(p, unix.SockFilter{Code: equal, Jf: 1, K: r.nr}, refuse)
			continue
		}
		low := uint32(16 + 8*r.arg)
		if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 { // big-endian
			low += 4
		}
		p = append(p,
			unix.SockFilter{Code: equal, Jf: 4, K: r.nr},
			unix.SockFilter{Code: load, K: low},
			unix.SockFilter{Code: and, K: r.mask},
			unix.SockFilter{Code: equal, Jf: 1, K: r.value},
			refuse)
	}
	return append(p, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW})
}
