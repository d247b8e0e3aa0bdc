// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"testing"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// TestWrittenChecksums: what different versions of nft ask for where a rule writes
// a port of UDP, and what no checksum is of.
func TestWrittenChecksums(t *testing.T) {
	for _, tt := range []struct {
		base         nft.PayloadBase
		kind         nft.CsumType
		offset, flag uint32
		ok           bool
	}{
		{nft.PayloadTransport, nft.CsumInet, 6, 0, true},                    // nft 1.0
		{nft.PayloadTransport, nft.CsumNone, 0, nft.CsumPseudoHeader, true}, // nft 1.1
		{nft.PayloadInner, nft.CsumNone, 0, nft.CsumPseudoHeader, true},
		{nft.PayloadLink, nft.CsumNone, 0, nft.CsumPseudoHeader, false},
		{nft.PayloadInner, nft.CsumInet, 6, 0, false},
		{nft.PayloadTransport, nft.CsumNone, 0, 2 * nft.CsumPseudoHeader, false},
	} {
		rs := readRuleset(t, `table inet t { chain c { type filter hook forward priority 0; policy accept; udp dport 53 udp dport set 54
			}
			}`)
		exprs := rs.Tables[0].Chains[0].Rules[0].Exprs
		write := exprs[len(exprs)-1].(*nft.ExprPayload)
		write.Base, write.CsumType, write.CsumOffset, write.CsumFlags = tt.base, tt.kind, tt.offset, tt.flag
		if _, err := Compile(rs, Options{Links: testLinks}); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
