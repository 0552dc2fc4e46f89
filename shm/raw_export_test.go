package shm

import "golang.org/x/sys/unix"

// DraftPrefix begins the names of drafts on file systems without O_TMPFILE.
const DraftPrefix = draftPrefix

// WithoutUnnamed lets Create work as on such a file system until back is called.
func WithoutUnnamed() (back func()) {
	was := openUnnamed
	openUnnamed = func(uint32) (int, error) { return -1, unix.EOPNOTSUPP }
	return func() { openUnnamed = was }
}
