"""HarDNet and SSD-HarDNet as torch modules whose state_dict keys are upstream's."""
