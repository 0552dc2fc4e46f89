package mq_test

import (
	"fmt"
	"os"
	"testing"
)

// BenchmarkPingPong is a round trip between two goroutines, next to os.Pipe.
func BenchmarkPingPong(b *testing.B) {
	for _, size := range []int{64, 4096} {
		b.Run(fmt.Sprintf("path=mq/impl=rawipc/size=%d/peer=goroutine", size), func(b *testing.B) {
			there, _ := fresh(b, nil)
			back, _ := fresh(b, nil)
			done := make(chan struct{})
			go func() {
				defer close(done)
				buf := make([]byte, 8192)
				for {
					n, _, err := there.Recv(bg, buf)
					if err != nil || back.Send(bg, buf[:n], 0) != nil {
						return
					}
				}
			}()
			b.ReportAllocs()
			buf := make([]byte, 8192)
			for b.Loop() {
				must(b, there.Send(bg, buf[:size], 0))
				_, _, err := back.Recv(bg, buf)
				must(b, err)
			}
			there.Close()
			<-done
		})
		b.Run(fmt.Sprintf("path=pipe/impl=os.Pipe/size=%d/peer=goroutine", size), func(b *testing.B) {
			r1, w1, err := os.Pipe()
			must(b, err)
			r2, w2, err := os.Pipe()
			must(b, err)
			done := make(chan struct{})
			go func() {
				defer close(done)
				buf := make([]byte, 8192)
				for {
					n, err := r1.Read(buf)
					if err != nil {
						return
					}
					w2.Write(buf[:n])
				}
			}()
			b.ReportAllocs()
			buf := make([]byte, 8192)
			for b.Loop() {
				if _, err := w1.Write(buf[:size]); err != nil {
					b.Fatal(err)
				}
				if _, err := r2.Read(buf); err != nil {
					b.Fatal(err)
				}
			}
			w1.Close()
			<-done
			r1.Close()
			r2.Close()
			w2.Close()
		})
	}
}
