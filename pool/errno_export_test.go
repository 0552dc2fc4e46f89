package pool

// StartAndBury makes a worker beside those of the pool, in this goroutine, and
// ends it.
func (p *Pool) StartAndBury() error {
	w, err := p.start()
	if err == nil {
		w.bury()
	}
	return err
}
