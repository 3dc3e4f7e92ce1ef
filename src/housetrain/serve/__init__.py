"""An HTTP server that classifies images, and its client; the command is `housetrain serve`."""
