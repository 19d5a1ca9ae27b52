"""The 40 pins of the Raspberry Pi Pico, typed by hand from its published pinout: independent of hw/gen on purpose.

LEFT runs down from the USB socket seen from above, RIGHT runs up on the other side, as the pins are numbered.
"""

LEFT = """
    GP0 GP1 GND GP2 GP3 GP4 GP5 GND GP6 GP7 GP8 GP9 GND GP10 GP11 GP12 GP13 GND GP14 GP15
"""
RIGHT = """
    GP16 GP17 GND GP18 GP19 GP20 GP21 GND GP22 RUN GP26 GP27 AGND GP28 ADC_VREF 3V3(OUT) 3V3_EN GND VSYS VBUS
"""
NAMES = dict(enumerate((LEFT + RIGHT).split(), 1))
GPIO_PIN = {int(name[2:]): number for number, name in NAMES.items() if name.startswith("GP")}
GROUND = {number for number, name in NAMES.items() if name in ("GND", "AGND")}

# GPIOs on which the chip offers each UART signal.
UART = {
    ("UART0", "TX"): {0, 12, 16, 28}, ("UART0", "RX"): {1, 13, 17, 29},
    ("UART1", "TX"): {4, 8, 20, 24}, ("UART1", "RX"): {5, 9, 21, 25},
}  # fmt: skip
