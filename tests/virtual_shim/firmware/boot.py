"""Put the power outputs to their level first, as the real boot.py does."""

from machine import Pin

for gpio in (6, 7, 8, 9, 10, 11, 12, 13, 14, 28):
    Pin(gpio, Pin.OUT, value=0)
