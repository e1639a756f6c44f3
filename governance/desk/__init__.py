"""The people's side: desk and admin, signing in, how changes are shown. It decides nothing by itself."""
