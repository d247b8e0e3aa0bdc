// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// secretFiles are patterns of files that hold keys or passwords.
var secretFiles = []string{
	"etc/hostapd/*.conf", "etc/hostapd/*.psk", "etc/hostapd/*secret*", "run/hostapd/*.conf", "etc/wpa_supplicant/*.conf",
	"etc/wireguard/*.conf", "etc/wireguard/*key*", "etc/ssh/ssh_host_*_key", "etc/l2d/*secret*", "etc/l2d/*.key", "run/secrets/*",
	"etc/kea/*.key", "etc/kea/kea-api-password", "etc/crowdsec/local_api_credentials.yaml", "etc/crowdsec/bouncers/*.yaml", "etc/NetworkManager/system-connections/*",
}

// words without which such a file has no secret in it.
var secretWords = []string{"passphrase", "password", "psk", "privatekey", "private key", "api_key", "secret", "key"}

func checkSecrets(r *report) {
	for _, pattern := range secretFiles {
		for _, path := range r.glob(pattern) {
			r.mode(path)
		}
	}
	r.socket()
}

// mode looks who can read a secret, and who can replace it.
func (r *report) mode(path string) {
	info, err := os.Stat(filepath.Join(r.Root, path))
	if err != nil || info.IsDir() {
		return
	}
	text := strings.ToLower(r.read(path))
	holds := false
	for _, word := range secretWords {
		holds = holds || strings.Contains(text, word)
	}
	mode := info.Mode().Perm()
	evidence := fmt.Sprintf("mode %04o", mode)
	switch {
	case mode&0o022 != 0:
		r.add(Failure, "mode", "/"+path+": others than its owner can change it", evidence, "chmod 600 /"+path)
	case mode&0o004 != 0 && holds:
		r.add(Failure, "mode", "/"+path+": everybody can read the secret in it", evidence, "chmod 600 /"+path)
	case mode&0o040 != 0 && holds:
		r.add(Note, "mode", fmt.Sprintf("/%s: group %d can read the secret in it", path, groupOf(info)), evidence, "chmod 600 /"+path+", unless a service of that group needs it")
	case mode&0o044 != 0:
		r.add(Good, "mode", "/"+path+": others can read it, and there is no secret in it", evidence, "")
	default:
		r.add(Good, "mode", "/"+path+": only its owner can read or change it", evidence, "")
	}
}

func groupOf(info os.FileInfo) uint32 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Gid
	}
	return 0
}

// socket looks who can talk to the daemon: that is root's power over the network.
func (r *report) socket() {
	if r.Config == nil {
		return
	}
	path := strings.TrimPrefix(r.Config.Control.Socket, "/")
	info, err := os.Stat(filepath.Join(r.Root, path))
	if err != nil {
		return
	}
	evidence := fmt.Sprintf("mode %04o", info.Mode().Perm())
	if info.Mode().Perm()&0o077 != 0 {
		r.add(Failure, "socket", "/"+path+": others than root can control the dataplane", evidence, "chmod 600 /"+path)
		return
	}
	r.add(Good, "socket", "/"+path+": only root can control the dataplane", evidence, "")
}
