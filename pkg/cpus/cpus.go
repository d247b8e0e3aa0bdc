// SPDX-License-Identifier: GPL-2.0-only

// Package cpus has CPUs by number, as the kernel writes them: as a list such as
// 0-3,8, and as a mask such as ff,00000003.
package cpus

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Max is more than the number of any CPU that a kernel can have: NR_CPUS of x86.
const Max = 8192

// Parse reads a list such as 0,12,1-3, and keeps the order in which it names CPUs.
// What the kernel writes for none at all is a nil list.
func Parse(s string) ([]int, error) {
	s = strings.TrimSpace(s)
	if s == "" || s == "(null)" {
		return nil, nil
	}
	var list []int
	for _, part := range strings.Split(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := number(from)
		if err != nil {
			return nil, err
		}
		last, err := number(to)
		if err != nil {
			return nil, err
		}
		if last < first {
			return nil, fmt.Errorf("%q ends before it begins", part)
		}
		for n := first; n <= last; n++ {
			if slices.Contains(list, n) {
				return nil, fmt.Errorf("CPU %d is in it twice", n)
			}
			list = append(list, n)
		}
	}
	return list, nil
}

// number reads a CPU's number in plain decimal digits.
func number(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n >= Max || strconv.Itoa(n) != s {
		return 0, fmt.Errorf("%q is no CPU's number", s)
	}
	return n, nil
}

// Format is the kernel's list of some CPUs, in ascending order; empty for none.
func Format(list []int) string {
	sorted := slices.Compact(slices.Sorted(slices.Values(list)))
	var b strings.Builder
	for i := 0; i < len(sorted); i++ {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		first := i
		for i+1 < len(sorted) && sorted[i+1] == sorted[i]+1 {
			i++
		}
		b.WriteString(strconv.Itoa(sorted[first]))
		if i > first {
			fmt.Fprintf(&b, "-%d", sorted[i])
		}
	}
	return b.String()
}

// word is how many CPUs a part of a mask is about.
const word = 32

// ParseMask reads a mask of 32-bit words in hexadecimal, the highest first.
func ParseMask(s string) ([]int, error) {
	words := strings.Split(strings.TrimSpace(s), ",")
	var list []int
	for i := range words {
		bits, err := strconv.ParseUint(words[len(words)-1-i], 16, word)
		if err != nil {
			return nil, fmt.Errorf("mask %q: %w", s, err)
		}
		for n := range word {
			if bits>>n&1 != 0 {
				list = append(list, i*word+n)
			}
		}
	}
	return list, nil
}

// FormatMask is the mask of some CPUs, with no more words than it needs.
func FormatMask(list []int) string {
	words := make([]uint32, 1)
	for _, n := range list {
		for len(words) <= n/word {
			words = append(words, 0)
		}
		words[n/word] |= 1 << (n % word)
	}
	last := len(words) - 1
	s := strconv.FormatUint(uint64(words[last]), 16)
	for i := last - 1; i >= 0; i-- {
		s += fmt.Sprintf(",%08x", words[i])
	}
	return s
}

// Without are the CPUs of a list that are not in another one.
func Without(list, other []int) []int {
	return slices.DeleteFunc(slices.Clone(list), func(n int) bool { return slices.Contains(other, n) })
}

// Both are the CPUs of a list that are in another one, too.
func Both(list, other []int) []int {
	return slices.DeleteFunc(slices.Clone(list), func(n int) bool { return !slices.Contains(other, n) })
}

// Equal tells whether two lists have the same CPUs, in whatever order.
func Equal(a, b []int) bool { return Format(a) == Format(b) }
