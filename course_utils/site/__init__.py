"""The course as a web site: `make site` builds it in build/site from what is committed, and runs nothing of it."""
