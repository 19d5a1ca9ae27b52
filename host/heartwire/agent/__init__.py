"""The program on each watched server: sends heartbeats, holds the lease, starts and stops the services."""
