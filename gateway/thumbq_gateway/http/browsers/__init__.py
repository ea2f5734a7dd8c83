"""What browsers need and what guards against them: CORS, headers of answers, pages of other origins."""
