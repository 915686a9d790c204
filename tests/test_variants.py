"""Everything public gives the same with and without jit, in the shapes and dtypes it was given."""

import chex
import jax
import jax.numpy as jnp

import gdlab
import hessian

PARAMS = {"w": jnp.arange(6.0).reshape(2, 3) / 7, "b": (jnp.ones(3), jnp.float64(0.5))}

OPTIMIZERS = {
    "gd": gdlab.gd,
    "momentum": gdlab.momentum,
    "adagrad": gdlab.adagrad,
    "rmsprop": gdlab.rmsprop,
    "adam": gdlab.adam,
    "amsgrad": gdlab.amsgrad,
    "radam": gdlab.radam,
    "adabelief": gdlab.adabelief,
}


def loss(params):
    return jnp.sum(params["w"] ** 2) + jnp.sum((params["b"][0] * params["b"][1] - 1) ** 2)


class Optimizers(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_an_update_is_shaped_like_the_parameters(self):
        grads = jax.grad(loss)(PARAMS)
        for name, make in OPTIMIZERS.items():
            with self.subTest(name):
                optimizer = make(0.01)
                state = self.variant(optimizer.init)(PARAMS)
                updates, after = self.variant(optimizer.update)(grads, state, PARAMS)
                step, _ = self.variant(optimizer.step)(grads, state, PARAMS)
                chex.assert_trees_all_equal_shapes_and_dtypes(updates, PARAMS, step.m)
                chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
                chex.assert_tree_all_finite((updates, step.sigma))
                chex.assert_shape(step.eta, ())
                chex.assert_trees_all_close(updates, step.update, rtol=1e-12)

    @chex.variants(with_jit=True, without_jit=True)
    def test_float32_stays_float32(self):
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), PARAMS)
        grads = jax.grad(loss)(params)
        for name, make in OPTIMIZERS.items():
            with self.subTest(name):
                optimizer = make(0.01)
                updates, _ = self.variant(optimizer.update)(grads, optimizer.init(params), params)
                chex.assert_trees_all_equal_dtypes(updates, params)


class Verdicts(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_products_spectra_verdicts_and_ways_out(self):
        products = self.variant(lambda params: hessian.hvp(loss, params)(params))(PARAMS)
        chex.assert_trees_all_equal_shapes_and_dtypes(products, PARAMS)
        spectrum = self.variant(lambda params: hessian.spectrum(loss, params))(PARAMS)
        chex.assert_shape(spectrum.eigenvalues, (10,))
        chex.assert_tree_shape_prefix(spectrum.eigenvectors, (10,))
        point = self.variant(lambda params: hessian.classify(loss, params))(PARAMS)
        chex.assert_scalar_in(int(point.code), 0, len(hessian.Kind) - 1)
        chex.assert_trees_all_close(point.lowest.value, spectrum.eigenvalues[0], rtol=1e-12)
        way = self.variant(lambda params: hessian.escape(loss, params))(PARAMS)
        chex.assert_trees_all_equal_shapes_and_dtypes(way.params, PARAMS)
