"""The window (`lure ui`): a page in the browser around the same jobs that `lure fuse` does."""
