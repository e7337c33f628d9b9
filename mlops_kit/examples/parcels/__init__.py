"""The parcels example: text, dates and missing values, and a number to predict."""
