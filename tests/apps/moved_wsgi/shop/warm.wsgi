import sys

sys.warmed = "warmed"
