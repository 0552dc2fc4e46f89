package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed peer/peer.c
var peerC []byte

//go:embed peer/peer.py
var peerPython []byte

// Peers are other people's ways for the same loops. c and python are what runs
// them, nil if they can't run here.
type peers struct {
	dir       string
	c, python []string
	about     []string // what they are, or why they are not here
}

// newPeers compiles and looks for what there is.
func newPeers(ctx context.Context) (p *peers, err error) {
	p = new(peers)
	if p.dir, err = os.MkdirTemp("", "rawipc-bench"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if about, err := p.compile(ctx); err != nil {
		p.about = append(p.about, "C doesn't run: "+err.Error())
	} else {
		p.about = append(p.about, "C by "+about)
	}
	if about, err := p.findPython(ctx); err != nil {
		p.about = append(p.about, "Python doesn't run: "+err.Error())
	} else {
		p.about = append(p.about, "Python "+about)
	}
	return p, nil
}

func (p *peers) close() { os.RemoveAll(p.dir) }

func (p *peers) compile(ctx context.Context) (about string, err error) {
	var cc string
	for _, name := range []string{os.Getenv("CC"), "cc", "gcc", "clang"} {
		if cc, err = exec.LookPath(name); name != "" && err == nil {
			break
		}
	}
	if err != nil || cc == "" {
		return "", fmt.Errorf("no C compiler: none of $CC, cc, gcc, clang is there")
	}
	source, program := filepath.Join(p.dir, "peer.c"), filepath.Join(p.dir, "peer")
	if err := os.WriteFile(source, peerC, 0o600); err != nil {
		return "", err
	}
	if _, err := output(ctx, cc, "-O2", "-o", program, source, "-lrt", "-pthread"); err != nil {
		return "", err
	}
	version, err := output(ctx, cc, "--version")
	if err != nil {
		return "", err
	}
	p.c = []string{program}
	return version + ", -O2", nil
}

func (p *peers) findPython(ctx context.Context) (about string, err error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", fmt.Errorf("no python3 is there")
	}
	about, err = output(ctx, python, "-c", "import multiprocessing.synchronize, sys; print(sys.version.split()[0])")
	if err != nil {
		return "", err
	}
	script := filepath.Join(p.dir, "peer.py")
	if err := os.WriteFile(script, peerPython, 0o600); err != nil {
		return "", err
	}
	p.python = []string{python, script}
	return about, nil
}

// output is the first line that a command prints, or the last of its errors.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return "", fmt.Errorf("%s: %w: %s", name, err, lines[len(lines)-1])
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return first, nil
}

// paths are the loops that the peers run, and those of the standard library.
func (p *peers) paths() (ps []*path) {
	add := func(args []string, impl, kind string, limits path) {
		if args == nil {
			return
		}
		limits.name, limits.impl = impl+" "+kind, impl
		limits.open = func(ctx context.Context, pl placement) (runner, error) { return newForeign(ctx, args, kind, pl) }
		ps = append(ps, &limits)
	}
	for _, kind := range []string{"ring", "ring-sleep", "pipe", "stream", "seqpacket", "dgram", "tcp", "mq", "futex", "eventfd"} {
		limits := path{spins: kind == "ring"}
		switch kind {
		case "ring", "ring-sleep":
			limits.max = ringCap - 8
		case "seqpacket", "dgram":
			limits.max = 64 << 10
		case "mq":
			limits.max = 8192
		case "futex":
			limits.fixed = 4
		case "eventfd":
			limits.fixed = 8
		}
		add(p.c, "C", kind, limits)
	}
	add(p.python, "Python", "Pipe", path{})
	add(p.python, "Python", "Queue", path{})
	add(p.python, "Python", "Semaphore", path{fixed: 4})
	add(p.python, "Python", "Pool", path{calls: true})
	return append(ps, stdPaths...)
}
