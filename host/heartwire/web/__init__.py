"""The page: racks, journal and notifications for a browser. The extra `heartwire[web]`; see README.md."""
