from django.test import TestCase

from .models import BaseOrder


class Orders(TestCase):
    def test_a_database_without_rowcast_works(self):
        self.assertEqual(BaseOrder.objects.create(name="one").status, "New")
