"""New rows that are fitted or trained: needs `tokengraft[train]`; torch is imported when it is used."""
