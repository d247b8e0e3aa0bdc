// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"fmt"
	"slices"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/ethioctl"
)

// TestTroubles: names are those of ixgbe, i40e, bnxt_en, atlantic, mlx5, veth and
// virtio_net.
func TestTroubles(t *testing.T) {
	var list []ethioctl.Statistic
	for i, name := range []string{
		"rx_packets", "tx_timeout_count", "rx_missed_errors", "tx_queue_0_packets", "rx_no_dma_resources", "rx_queue_1_errors", "rx_queue_12_errors",
		"port.rx_crc_errors", "rx-3.alloc_fail", "[0]: rx_discards", "[1]: rx_discards", "Queue[2] InErrors", "InErrors", "rx7_xdp_drop", "rx_xdp_drop", "port.rx_dropped",
	} {
		list = append(list, ethioctl.Statistic{Name: name, Value: uint64(i)})
	}
	want := []ethioctl.Statistic{
		{Name: "InErrors", Value: 12}, {Name: "Queue_InErrors", Value: 11}, {Name: "port.rx_crc_errors", Value: 7}, {Name: "port.rx_dropped", Value: 15},
		{Name: "rx_alloc_fail", Value: 8}, {Name: "rx_discards", Value: 19}, {Name: "rx_missed_errors", Value: 2}, {Name: "rx_no_dma_resources", Value: 4},
		{Name: "rx_queue_errors", Value: 11}, {Name: "rx_xdp_drop", Value: 14}, {Name: "tx_timeout_count", Value: 1},
	}
	if got := troubles(list); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	list = nil
	for i := range 200 {
		list = append(list, ethioctl.Statistic{Name: fmt.Sprintf("%c%c_errors", 'a'+i/26, 'a'+i%26)})
	}
	if n := len(troubles(list)); n != mostDriver {
		t.Errorf("%d of 200 are served", n)
	}
}
