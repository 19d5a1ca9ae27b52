"""What the monitor knows, for an MQTT server: states, Home Assistant's discovery, the journal. See README.md."""
