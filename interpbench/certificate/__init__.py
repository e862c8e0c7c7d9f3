"""The certificate of a subject: measurements that its stated circuit is the one it uses."""
