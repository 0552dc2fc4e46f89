package proc

// RefusePidfd makes this package behave as where the kernel, or a seccomp
// filter, refuses a call: "clone", "wait" or "signal". It returns what undoes
// that.
func RefusePidfd(call string) (restore func()) {
	t := map[string]*trial{
		"clone":  &kernel.clonePidfd,
		"wait":   &kernel.waitPidfd,
		"signal": &kernel.signalPidfd,
	}[call]
	t.Store(false)
	return func() { t.Store(true) }
}

const EnvMark = envMark
