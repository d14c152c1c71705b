"""Images from disk to the network: :mod:`~frih.data.iharmony4` lists them, :mod:`~frih.data.loader` batches them."""
