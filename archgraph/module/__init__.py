"""Graph to module: shapes, Python source, and the compiled `nn.Module`. Importing it imports torch."""
